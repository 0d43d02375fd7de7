"""Whether this instance is fit to answer and to charge: a few checks, each cheap, none ever a paid call."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from gateway.publishing.delivery import DeliveryState
from seams.clock import Clock
from seams.tables import TableError, Tables

KEPT_SECONDS: Final = 5.0
"""What was found is told again for so long, however often somebody asks."""

STORAGE_SECONDS: Final = 2.0
REFUSED_SECONDS: Final = 60.0
"""A refused batch counts for so long: an instance that gets no calls because of it would never publish again."""

PROBED_TABLE: Final = "rollups"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's result; `facts` hold no secret, and are for operators."""

    ok: bool
    facts: Mapping[str, str | int | float | bool] = field(default_factory=dict)


type Check = Callable[[], Awaitable[Finding]]


class Readiness:
    """Runs the checks, at most every KEPT_SECONDS and never twice at a time."""

    def __init__(self, checks: Mapping[str, Check], clock: Clock) -> None:
        self._checks = checks
        self._clock = clock
        self._findings: Mapping[str, Finding] = {}
        self._found_at: float | None = None
        self._lock = asyncio.Lock()

    async def findings(self) -> Mapping[str, Finding]:
        """Return what each check found; the instance is ready where all are ok."""
        async with self._lock:
            now = self._clock.monotonic()
            if self._found_at is None or now - self._found_at >= KEPT_SECONDS:
                found = await asyncio.gather(*(check() for check in self._checks.values()))
                self._findings = dict(zip(self._checks, found, strict=True))
                self._found_at = now
            return self._findings


def storage_check(tables: Tables) -> Check:
    """Return the check that reads a row that need not exist."""

    async def check() -> Finding:
        try:
            async with asyncio.timeout(STORAGE_SECONDS):
                table = await tables.table(PROBED_TABLE)
                await table.get("readyz", "readyz")
        except TimeoutError:
            return Finding(ok=False, facts={"error": f"no answer within {STORAGE_SECONDS:g} seconds"})
        except TableError as error:
            return Finding(ok=False, facts={"error": type(error).__name__})
        return Finding(ok=True)

    return check


def stream_finding(waiting: int, delivery: DeliveryState) -> Finding:
    """Return the finding on the event stream: not ok while it refuses batches or events are in memory only."""
    facts: dict[str, str | int | float | bool] = {
        "waiting": waiting,
        "outboxed": delivery.outboxed,
        "in_memory": delivery.kept,
        "lost": delivery.lost,
    }
    refused = delivery.failing_for
    if refused is not None:
        facts["last_refusal_seconds_ago"] = round(refused, 1)
    return Finding(ok=not delivery.kept and (refused is None or refused > REFUSED_SECONDS), facts=facts)
