"""Background responses whose usage is not known yet, in the table `background`.

The answer to such a request tells an id and no usage. A row remembers it until somebody is told the usage: a caller
that fetches it, or the timer (`gateway.metering.background`).
"""

import asyncio
import hashlib
import logging
from datetime import datetime
from operator import attrgetter
from typing import Any, Final, Self

import msgspec

from gateway.answers.reports import AnswerReport, split_version
from gateway.call import Call
from gateway.catalog.catalog import Backend, CallerToken
from gateway.requests import operations
from gateway.routing.resources import made_in
from gateway.usage import UsageEvent
from seams.clock import Clock
from seams.tables import Delete, Entity, Table, TableConflict, TableError, Tables, Upsert

TABLE: Final = "background"
PARTITION: Final = "open"
WRITE_SECONDS: Final = 5.0

logger = logging.getLogger(__name__)


def background_response(call: Call) -> str | None:
    """Return the id of the background response that a call made or shows; None where it is about none."""
    if call.stored is None and not call.peek.background:
        return None
    if call.stored is not None:
        return operations.stored_response(call.target) if call.stored.background else None
    if call.attempt is None:
        return None
    made = call.reader.resources if call.reader is not None else made_in(call.attempt.body or b"")
    return next((each for each in made if each.startswith("resp_")), None)


def report_of(call: Call) -> AnswerReport | None:
    """Return what a call's answer reports; None where it reports nothing."""
    if call.attempt is None:
        return None
    return call.attempt.report if call.reader is None else call.reader.report


class OpenResponse(msgspec.Struct, frozen=True):
    """A background response whose usage is not known yet; `path` and `query` are those it is asked for with."""

    id: str
    call: str
    subscription: str
    cost_centre: str
    deployment: str
    backend: str
    path: str
    query: str
    labels: dict[str, str]
    since: datetime

    @classmethod
    def of(cls, call: Call, response: str, now: datetime) -> Self:
        v1 = call.target.upstream.startswith("/openai/v1/")
        return cls(
            id=response,
            call=call.id,
            subscription=call.subscription.name,
            cost_centre=call.subscription.cost_centre,
            deployment=call.deployment.name,
            backend=call.member.backend.name,
            path=f"/openai/{'v1/' if v1 else ''}responses/{response}",
            query=call.query,
            labels=call.labels,
            since=now,
        )

    def event(self, backend: Backend, report: AnswerReport, now: datetime) -> UsageEvent | None:
        """Return the bill; None where the answer reports no usage."""
        if report.usage is None:
            return None
        model, version = split_version(report.model)
        return UsageEvent(
            id=self.id,
            parent=self.call,
            time=now,
            subscription=self.subscription,
            cost_centre=self.cost_centre,
            operation=operations.RESPONSES,
            deployment=self.deployment,
            model=model,
            model_version=version,
            backend=backend.name,
            deployment_type=backend.deployment_type,
            region=backend.region,
            service_tier=report.service_tier,
            outcome="completed",
            status=200,
            replayed=True,
            meters=report.usage,
            labels=self.labels,
            latency_ms=max(0, int((now - self.since).total_seconds() * 1000)),
        )


class OpenResponses:
    """Remembers them in the table, behind a call's last byte."""

    def __init__(self, tables: Tables, clock: Clock) -> None:
        self._tables = tables
        self._clock = clock

    async def note(self, call: Call) -> None:
        """Remember the response that a call left under way; forget one whose usage it told.

        Where storage fails, the response is billed when it is fetched, and not otherwise.
        """
        response = background_response(call)
        if response is None or call.attempt is None or call.attempt.answer.status >= 400:
            return
        report = report_of(call)
        told = report is not None and report.usage is not None
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                if call.stored is not None and told:
                    await self.forget(response)
                elif call.stored is None and not told:
                    await self._remember(call, response)
        except (TableError, TimeoutError) as error:
            logger.error("%s: its background response %s is billed only if it is fetched: %r", call.id, response, error)  # noqa: TRY400 - the error says it all

    async def forget(self, response: str) -> None:
        """Raises TableUnavailable."""
        try:
            await (await self._table()).transact([Delete(PARTITION, _row(response))])
        except TableConflict:
            # Another fetch, or the timer, was first.
            return

    async def oldest(self, most: int) -> list[OpenResponse]:
        """Return up to so many, those first that have been open for longest. Raises TableUnavailable."""
        rows = [_read(entity.values["response"]) async for entity in (await self._table()).query(PARTITION)]
        return sorted(rows, key=attrgetter("since"))[:most]

    async def _remember(self, call: Call, response: str) -> None:
        if isinstance(call.member.backend.auth, CallerToken):
            logger.warning("%s: its background response is billed only if its caller fetches it", call.id)
            return
        row = OpenResponse.of(call, response, self._clock.now())
        entity = Entity(PARTITION, _row(response), {"response": msgspec.json.encode(row)})
        await (await self._table()).transact([Upsert(entity)])

    async def _table(self) -> Table:
        return await self._tables.table(TABLE)


def _row(response: str) -> str:
    return hashlib.sha256(response.encode()).hexdigest()


def _read(row: Any) -> OpenResponse:
    return msgspec.json.decode(row, type=OpenResponse)
