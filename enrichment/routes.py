"""HTTP routes for tickets: POST /summarize, POST /enrich, POST /stream."""

from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Request, Response

from enrichment.answers.answers import Enrichment, ErrorBody, Summary
from enrichment.answers.pieces import PieceResponse
from enrichment.caller import TicketCaller
from enrichment.enricher import Enricher
from enrichment.errors import JobsUnavailable
from enrichment.jobs.accepted import AcceptedJob
from enrichment.jobs.enriching import Answering
from enrichment.jobs.keys import IDEMPOTENCY_KEY
from enrichment.requests.intake import IntakeRoute, unless_left
from enrichment.requests.requests import EnrichRequest, Question
from enrichment.tickets.ticket import Ticket

type Responses = dict[int | str, dict[str, Any]]

_REASONS: Final = {
    400: "The body is not JSON, or the model's backend rejected the request.",
    401: "No subscription key, or one that is not valid.",
    403: "The subscription may not use the deployment, or has spent its quota or budget.",
    404: "The deployment that answers tickets is not in the catalog.",
    408: "The body did not arrive in time.",
    413: "The body is over 1 MiB.",
    422: "Not what the route takes; or no answer by the model: codes refusal, content_filter, length.",
    429: "A rate limit, or every backend is throttled: try again after Retry-After.",
    502: "The model's answer is empty, malformed or was cut.",
    503: "No backend is available: try again after Retry-After.",
    504: "The model did not answer in time.",
}

_ERRORS: Final[Responses] = {status: {"model": ErrorBody, "description": reason} for status, reason in _REASONS.items()}

# Beside a stream FastAPI would describe the errors as streams, too.
_STREAM_ERRORS: Final[Responses] = {
    status: {
        "description": reason,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}},
    }
    for status, reason in _REASONS.items()
}

_ACCEPTED: Final[Responses] = {
    202: {
        "model": AcceptedJob,
        "description": "A job was made of it: mode `async`, or `auto` and 25 seconds have passed. Ask at `Location`, "
        "after `Retry-After`.",
    },
    409: {
        "model": ErrorBody,
        "description": "An earlier request had the same idempotency key and another body; or it is being answered.",
    },
}

_STREAM: Final[Responses] = {
    200: {
        "description": "Events whose `data` are pieces of the answer's text in order; the last `data` is `[DONE]`. "
        "A failure after the first piece is an `error` event with an error object, and no `[DONE]`.",
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": "data: Open\n\ndata:  File Explorer\n\ndata: [DONE]\n\n",
            }
        },
    }
}


def router(caller_of: Callable[..., Any], enricher: Enricher, jobs: Answering | None = None) -> APIRouter:
    """Return the routes. `caller_of` is a dependency that yields the request's TicketCaller.

    It raises its own error for a caller it does not know. Without `jobs` everything is answered at once.
    """
    routes = APIRouter(route_class=IntakeRoute, tags=["tickets"])
    _add_summarize(routes, caller_of, enricher)
    _add_enrich(routes, caller_of, enricher, jobs)
    _add_stream(routes, caller_of, enricher)
    return routes


def _add_summarize(routes: APIRouter, caller_of: Callable[..., Any], enricher: Enricher) -> None:
    type Caller = Annotated[TicketCaller, Depends(caller_of)]

    @routes.post(
        "/summarize",
        operation_id="summarize-ticket",
        summary="Summarise a ticket in one paragraph",
        responses=_ERRORS,
    )
    async def summarize(ticket: Ticket, caller: Caller, request: Request) -> Summary:
        """Asks a model through the gateway, charged to the caller's subscription. Text in a ticket is only data."""
        return await unless_left(request, enricher.summarize(caller, ticket))


def _add_enrich(routes: APIRouter, caller_of: Callable[..., Any], enricher: Enricher, jobs: Answering | None) -> None:
    type Caller = Annotated[TicketCaller, Depends(caller_of)]

    @routes.post(
        "/enrich",
        operation_id="enrich-ticket",
        summary="Classify, summarise and otherwise enrich a ticket",
        responses=_ERRORS | _ACCEPTED,
        response_model=Enrichment,
    )
    async def enrich(
        asked: EnrichRequest,
        caller: Caller,
        request: Request,
        idempotency_key: Annotated[str, Header(**IDEMPOTENCY_KEY)] = "",
    ) -> Enrichment | Response:
        """Runs the tasks at once. A failed task is an error in its own outcome; the others are answered all the same.

        Each model call is charged to the caller's subscription.
        """
        if jobs is not None:
            told = await request.json()
            return await unless_left(request, jobs.answer(enricher, caller, asked, told, idempotency_key))
        if asked.mode == "async":
            raise JobsUnavailable("This gateway runs no jobs: ask with mode sync or auto.", param="mode")
        return await unless_left(request, enricher.enrich(caller, asked))


def _add_stream(routes: APIRouter, caller_of: Callable[..., Any], enricher: Enricher) -> None:
    type Caller = Annotated[TicketCaller, Depends(caller_of)]

    @routes.post(
        "/stream",
        operation_id="stream-answer",
        summary="Answer a question word by word",
        response_class=PieceResponse,
        status_code=200,
        responses=_STREAM_ERRORS | _STREAM,
    )
    async def stream(question: Question, caller: Caller, request: Request) -> PieceResponse:
        """Server-sent events, each a piece of the answer as the model writes it, charged as any other call."""
        answer = await unless_left(request, enricher.answer(caller, question))
        return PieceResponse(answer.pieces(), answer.request_id)
