"""One JSON line per call, made while it ends and written a moment later by a task, so that no caller waits for a log.

A line says who called what, where it went and how it ended: never what was said, and never a key. Requests that were
refused before they became calls are only counted (`hosting/monitoring/metrics.py`): who sends nonsense must not fill
the log.
"""

import asyncio
import contextvars
import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Final, override

import msgspec

from gateway.call import Call
from gateway.observer import NoObserver, own_event
from gateway.usage import UsageEvent
from hosting.monitoring.semantics import CALLS_LOGGER, REFUSED
from seams.clock import Clock

GATHER_SECONDS: Final = 0.1

MOST_WAITING: Final = 10_000
"""Lines; more than that wait only where writing hangs, and then they are counted and dropped."""

LINES_AT_ONCE: Final = 50
"""Then other tasks get their turn."""


class CallLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a line holds; `time` is when the answer ended, `code` the gateway's own error. Nothing that was said."""

    time: datetime
    request_id: str
    subscription: str
    deployment: str
    operation: str
    status: int
    outcome: str
    attempts: int
    duration_ms: int
    backend: str = ""
    tried: list[str] = []
    code: str = ""
    model: str = ""
    streamed: bool = False
    estimated: bool = False
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    first_chunk_ms: int = 0
    workload: str = ""


_encode: Final = msgspec.json.Encoder().encode


class CallLog(NoObserver):
    """An Observer that logs each call at level INFO of CALLS_LOGGER; `dropped` counts the lines that were not."""

    def __init__(self, clock: Clock, logger: logging.Logger | None = None) -> None:
        self._clock = clock
        self._logger = logger or logging.getLogger(CALLS_LOGGER)
        self._lines: list[bytes] = []
        self._writer: asyncio.Task[None] | None = None
        self.dropped = 0

    @override
    def call_ended(self, call: Call, events: Sequence[UsageEvent]) -> None:
        if len(self._lines) >= MOST_WAITING:
            self.dropped += 1
            return
        self._lines.append(_encode(self._line(call, own_event(call, events))))
        if self._writer is None:
            # A context of its own: the lines of many calls belong to no single invocation.
            self._writer = asyncio.create_task(self._write(), name="call log", context=contextvars.Context())

    async def close(self) -> None:
        """Wait until every line is written."""
        if self._writer is not None:
            await asyncio.wait([self._writer])

    def _line(self, call: Call, event: UsageEvent | None) -> CallLine:
        duration = round((self._clock.monotonic() - call.started) * 1000)
        tried = [f"{member.backend.name}={result}" for member, result in zip(call.tried, call.results, strict=False)]
        if event is None:
            return CallLine(
                time=self._clock.now(),
                request_id=call.id,
                subscription=call.subscription.name,
                deployment=call.deployment.name,
                operation=call.target.operation[:256],
                status=call.error.status if call.error is not None else 499,
                outcome=REFUSED if call.error is not None else "client_closed",
                code=call.error.code if call.error is not None else "",
                attempts=len(call.tried),
                tried=tried,
                duration_ms=duration,
            )
        meters = event.meters
        return CallLine(
            time=event.time,
            request_id=event.id,
            subscription=event.subscription,
            deployment=event.deployment,
            operation=event.operation,
            status=event.status,
            outcome=event.outcome,
            attempts=event.attempts,
            duration_ms=duration,
            backend=event.backend,
            tried=tried if len(tried) > 1 else [],
            model=event.model,
            streamed=event.streamed,
            estimated=event.estimated,
            prompt_tokens=meters.prompt_tokens,
            cached_tokens=meters.cached_tokens,
            completion_tokens=meters.completion_tokens,
            reasoning_tokens=meters.reasoning_tokens,
            first_chunk_ms=event.first_token_ms,
            workload=event.labels.get("workload", ""),
        )

    async def _write(self) -> None:
        try:
            await asyncio.sleep(GATHER_SECONDS)
            while self._lines:
                lines, self._lines = self._lines[:LINES_AT_ONCE], self._lines[LINES_AT_ONCE:]
                for line in lines:
                    self._logger.info("%s", line.decode())
                await asyncio.sleep(0)
        finally:
            self._writer = None
