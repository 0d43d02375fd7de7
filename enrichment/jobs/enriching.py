"""POST /enrich with jobs behind it: answered at once, once, or as a job."""

from collections.abc import Mapping
from typing import Any

from fastapi import Response
from starlette.background import BackgroundTask

from enrichment.caller import TicketCaller
from enrichment.enricher import Enricher
from enrichment.jobs.accepted import accepted
from enrichment.jobs.desk import JobDesk
from enrichment.jobs.keys import key_of
from enrichment.jobs.once import Answered, Once, Promised
from enrichment.jobs.order import Order
from enrichment.jobs.work import ENDING_SECONDS, Made
from enrichment.requests import EnrichRequest

REPLAYED = "idempotency-replayed"


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
        seconds = self._work_seconds if asked.mode == "auto" else self._once.wait

        async def perform() -> Made:
            return Made.of(await enricher.enrich(caller, asked, seconds=seconds))

        if key:
            reply = await self._once.answer_keyed(order, perform, may_promise=asked.mode == "auto")
        elif asked.mode == "auto":
            reply = await self._once.answer(order, perform)
        else:
            reply = Answered((await perform()).result)
        return _response(reply)


def _response(reply: Answered | Promised) -> Response:
    if isinstance(reply, Answered):
        headers = {REPLAYED: "true"} if reply.repeated else {}
        return Response(reply.result, 200, headers, "application/json")
    response = accepted(reply.name, reply.status)
    if reply.rest is not None:
        # Runs behind the answer's last byte, and inside the request: its models stay open.
        response.background = BackgroundTask(reply.rest)
    return response
