"""Responses that are worked on in the background: billed when they are done, whether anybody fetches them or not.

The answer to such a request tells an id and no usage. A row of the table `background` remembers it until somebody is
told the usage: a caller that fetches it, or the timer that asks its home. Both make the same usage event, under the
response's own id and marked as replayed, so that the ledger counts one.
"""

import asyncio
import contextlib
import hashlib
import logging
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, Final, Self

import msgspec

from gateway import operations
from gateway.answers import AnswerReport, read_report, split_version
from gateway.bodies import NOT_JSON
from gateway.call import Call
from gateway.catalog import Backend, CallerToken, Catalog
from gateway.credentials import credential
from gateway.publisher import UsagePublisher
from gateway.routing.resources import made_in
from gateway.upstream import Request, Upstream, UpstreamError, UpstreamNonsense, whole
from gateway.usage import UsageEvent
from seams.clock import Clock
from seams.tables import Delete, Entity, Table, TableConflict, TableError, Tables, Upsert
from seams.tokens import TokenSource, TokenUnavailable

TABLE: Final = "background"
PARTITION: Final = "open"
WRITE_SECONDS: Final = 5.0
ASK_SECONDS: Final = 20.0
RUN_SECONDS: Final = 50.0
"""After which no further response is asked about: the timer is due again after a minute."""

AT_ONCE: Final = 8
LONGEST_RESPONSE: Final = 32 * 1024 * 1024
GIVEN_UP: Final = timedelta(days=2)
"""What is not done by then never is; Azure OpenAI deletes stored responses after 30 days."""

UNDER_WAY: Final = frozenset({"queued", "in_progress"})

logger = logging.getLogger(__name__)


class _Status(msgspec.Struct):
    status: str = ""


_status = msgspec.json.Decoder(_Status).decode


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


class BackgroundBills:
    """What the timer does: asks open responses' homes whether they are done, and publishes what they used."""

    def __init__(
        self,
        responses: OpenResponses,
        catalog: Catalog,
        upstream: Upstream,
        *,
        tokens: TokenSource,
        publisher: UsagePublisher,
        clock: Clock,
    ) -> None:
        self._responses = responses
        self._catalog = catalog
        self._upstream = upstream
        self._tokens = tokens
        self._publisher = publisher
        self._clock = clock

    async def run(self) -> None:
        """Ask about each open response once, as far as the time allows. Raises TableUnavailable."""
        waiting = await self._responses.oldest(1000)
        until = self._clock.monotonic() + RUN_SECONDS

        async def work() -> None:
            while waiting and self._clock.monotonic() < until:
                await self._settle(waiting.pop(0))

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))

    async def _settle(self, response: OpenResponse) -> None:
        over = self._clock.now() - response.since > GIVEN_UP
        done = False
        try:
            async with asyncio.timeout(ASK_SECONDS):
                done = await self._billed(response)
        except (UpstreamError, TokenUnavailable, TimeoutError) as error:
            logger.warning("Background response %s could not be asked for: %r", response.id, error)
        if over and not done:
            logger.error("Background response %s of %s is given up unbilled", response.id, response.subscription)
        if done or over:
            # Where storage fails here, the next run makes the same event, and the ledger drops it.
            with contextlib.suppress(TableError):
                await self._responses.forget(response.id)

    async def _billed(self, response: OpenResponse) -> bool:
        """Publish what a response used, where it is done; return whether there is nothing more to learn of it."""
        deployment = self._catalog.deployments.get(response.deployment)
        pinned = deployment.pinned(response.backend) if deployment is not None else None
        if pinned is None:
            return False
        backend = pinned.tiers[0][0].backend
        status, body = await self._ask(backend, response)
        if status == 404:
            logger.warning("Background response %s was deleted before its usage was known", response.id)
            return True
        report = read_report(body)
        if status != 200 or report is None or _is_under_way(body):
            return False
        event = response.event(backend, report, self._clock.now())
        if event is not None:
            await self._publisher.publish(event)
        return True

    async def _ask(self, backend: Backend, response: OpenResponse) -> tuple[int, bytes]:
        name, value = await credential(backend.auth, self._tokens, "")
        url = f"{backend.endpoint}{response.path}{'?' if response.query else ''}{response.query}"
        answer = await self._upstream.send(Request("GET", url, {"accept-encoding": "identity", name: value}, b""))
        try:
            return answer.status, await whole(answer, LONGEST_RESPONSE)
        finally:
            answer.close()


def _is_under_way(body: bytes) -> bool:
    try:
        return _status(body).status in UNDER_WAY
    except NOT_JSON as error:
        raise UpstreamNonsense("the response is not JSON") from error


def _row(response: str) -> str:
    return hashlib.sha256(response.encode()).hexdigest()


def _read(row: Any) -> OpenResponse:
    return msgspec.json.decode(row, type=OpenResponse)
