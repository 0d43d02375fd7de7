"""Responses that are worked on in the background: billed when they are done, whether anybody fetches them or not.

A caller that fetches one is told its usage, and so is the timer that asks its home. Both make the same usage event,
under the response's own id and marked as replayed, so that the ledger counts one.
"""

import asyncio
import contextlib
import logging
from datetime import timedelta
from typing import Final

import msgspec

from gateway.answers.reports import read_report
from gateway.attempts.credentials import credential
from gateway.catalog.catalog import Backend, Catalog
from gateway.metering.open_responses import OpenResponse, OpenResponses
from gateway.publishing.publisher import UsagePublisher
from gateway.requests.bodies import NOT_JSON
from gateway.upstream.upstream import Request, Upstream, UpstreamError, UpstreamNonsense, whole
from seams.clock import Clock
from seams.tables import TableError
from seams.tokens import TokenSource, TokenUnavailable

MOST_ASKED: Final = 1000
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
        waiting = await self._responses.oldest(MOST_ASKED)
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
