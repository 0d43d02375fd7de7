"""A hub of one partition, its collector and its sweep: where tests of orphans are set up."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from chargeback.ledger.ledger import Ledger
from chargeback.orphans.sweep import OrphanSweep
from chargeback.prices import Prices
from chargeback.statements.models import Statement
from chargeback.statements.statements import Statements
from gateway.usage import Intent, Meters, Record, UsageEvent, encode
from seams.events import ReceivedEvent, StreamUnavailable
from seams.tables import Tables
from tests.chargeback.staging import everybody
from tests.clocks import HandClock

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
AFTER = timedelta(hours=1)


class Desk:
    """A hub of one partition, a collector and a sweep over the same tables, and a clock set by hand."""

    def __init__(self, tables: Tables, prices: Prices, *, detail_rows: bool = True) -> None:
        self.tables = tables
        self.prices = prices
        self.clock = HandClock(NOON)
        self.detail_rows = detail_rows
        self.hub = "hub"
        self.log: list[ReceivedEvent] = []
        self.end: int | None = None
        self.questions = 0

    async def incarnation(self) -> str:
        return self.hub

    async def ends(self) -> Mapping[str, int]:
        self.questions += 1
        if self.end is None:
            raise StreamUnavailable("silent")
        return {"0": self.end}

    async def collect(self, *records: Record) -> None:
        """Append records to the hub and collect them."""
        first = len(self.log)
        self.log += [ReceivedEvent(encode(one), "0", n, self.clock.at) for n, one in enumerate(records, first)]
        self.end = len(self.log) - 1
        await self.ledger().collect(self.log[first:])

    def ledger(self, tables: Tables | None = None) -> Ledger:
        return Ledger(
            tables or self.tables,
            self.prices,
            self.incarnation,
            detail_rows=self.detail_rows,
            orphan_after=AFTER,
            clock=self.clock,
            uniform=lambda: 0.0,
        )

    async def sweep(self, tables: Tables | None = None) -> int:
        sweep = OrphanSweep(tables or self.tables, self.prices, self, self.clock, after=AFTER, uniform=lambda: 0.0)
        return await sweep.sweep()

    async def statement(self, period: str = "2026-11") -> Statement:
        return await Statements(self.tables, self.prices, everybody).month("s", period)

    async def requests(self) -> tuple[int, int]:
        """Return the month's requests, and how many of them are orphans."""
        statement = await self.statement()
        return statement.requests, sum(line.orphaned_requests for line in statement.lines)

    def later(self, time: timedelta) -> None:
        self.clock.at += time


def intent(identity: str, **changes: Any) -> Intent:
    names: dict[str, Any] = {
        "time": NOON,
        "subscription": "s",
        "operation": "chat/completions",
        "deployment": "chat",
        "model": "gpt-4o",
        "backend": "b",
        "deployment_type": "global",
        "prompt_tokens": 1000,
    }
    return Intent(id=identity, **names | changes)


def event(identity: str, began: datetime = NOON, ended: datetime = NOON, **changes: Any) -> UsageEvent:
    names: dict[str, Any] = {
        "subscription": "s",
        "operation": "chat/completions",
        "deployment": "chat",
        "model": "gpt-4o",
        "backend": "b",
        "deployment_type": "global",
        "status": 200,
        "outcome": "completed",
        "meters": Meters(prompt_tokens=900, completion_tokens=10),
        "latency_ms": int((ended - began).total_seconds() * 1000),
    }
    return UsageEvent(id=identity, time=ended, **names | changes)
