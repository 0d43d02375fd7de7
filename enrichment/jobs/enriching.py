"""POST /enrich with jobs behind it: answered at once, once, or as a job."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastapi import Response
from starlette.background import BackgroundTask

from enrichment.answers.answers import Enrichment
from enrichment.caller import TicketCaller
from enrichment.enricher import Enricher
from enrichment.jobs.accepted import accepted
from enrichment.jobs.desk import JobDesk
from enrichment.jobs.keys import key_of
from enrichment.jobs.made import Made
from enrichment.jobs.once import Answered, Once, Promised
from enrichment.jobs.order import Order
from enrichment.jobs.work import ENDING_SECONDS
from enrichment.requests.requests import EnrichRequest
from seams.tables import TableUnavailable

REPLAYED: Final = "idempotency-replayed"

_log: Final = logging.getLogger(__name__)


class Answering:
    """`work_seconds` bounds the work of a job, `Once.wait` that of a caller who waits for all of it."""

    def __init__(self, desk: JobDesk, once: Once, work_seconds: float) -> None:
        self._desk = desk
        self._once = once
        self._work_seconds = work_seconds - ENDING_SECONDS

    async def answer(
        self, enricher: Enricher, caller: TicketCaller, asked: EnrichRequest, told: Mapping[str, Any], header: str
    ) -> Response:
        """Return 200 with the result, or 202 with where to ask for it; `told` is the body that `asked` was read from.

        Raises EnrichmentError, TableUnavailable.
        """
        key = key_of(header, asked.ticket, asked.tasks)
        order = Order.of(self._desk.name("enrich", caller.subscription, key), told, asked)
        if asked.mode == "async":
            job = await self._desk.submit(order)
            return accepted(job.name, job.status)
        may_promise = asked.mode == "auto"
        seconds = self._work_seconds if may_promise else self._once.wait
        work = _Work(enricher, caller, asked, asyncio.get_running_loop().time() + seconds)
        try:
            if key:
                return _response(await self._once.answer_keyed(order, work.perform, may_promise=may_promise))
        except TableUnavailable:
            # A caller who sent no key wants an answer more than a promise that nobody can make now.
            if header or work.begun:
                raise
            _log.warning("a ticket is answered without its key: the tables do not answer")
        if may_promise:
            return _response(await self._once.answer(order, work.perform))
        return _response(Answered((await work.perform()).result))


@dataclass(slots=True)
class _Work:
    """One request's work; `end` is the loop's time at which its tasks are told to stop."""

    enricher: Enricher
    caller: TicketCaller
    asked: EnrichRequest
    end: float
    begun: bool = False

    async def perform(self, done: Enrichment | None = None) -> Made:
        self.begun = True
        left = max(self.end - asyncio.get_running_loop().time(), 1.0)
        return Made.of(await self.enricher.enrich(self.caller, self.asked, seconds=left, done=done), done)


def _response(reply: Answered | Promised) -> Response:
    if isinstance(reply, Answered):
        headers = {REPLAYED: "true"} if reply.repeated else {}
        return Response(reply.result, 200, headers, "application/json")
    response = accepted(reply.name, reply.status)
    if reply.rest is not None:
        # Runs behind the answer's last byte, and inside the request: its models stay open.
        response.background = BackgroundTask(reply.rest)
    return response
