"""HTTP routes for tickets: POST /summarize, POST /stream."""

from collections.abc import Callable
from typing import Annotated, Any, Final

import openai
from fastapi import APIRouter, Depends, Request

from enrichment.enricher import Enricher
from enrichment.intake import IntakeRoute, unless_left
from enrichment.models import ErrorBody, Question, Summary, Ticket
from enrichment.pieces import PieceResponse

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


def router(models_of: Callable[..., Any], deployment: str) -> APIRouter:
    """Return the routes. `models_of` is a dependency that yields an openai client bound to the caller.

    It raises its own error for a caller it does not know. `deployment` is the one that is asked.
    """
    type Models = Annotated[openai.AsyncOpenAI, Depends(models_of)]
    enricher = Enricher(deployment)
    routes = APIRouter(route_class=IntakeRoute, tags=["tickets"])

    @routes.post(
        "/summarize",
        operation_id="summarize-ticket",
        summary="Summarise a ticket in one paragraph",
        response_model_exclude_none=True,
        responses=_ERRORS,
    )
    async def summarize(ticket: Ticket, models: Models, request: Request) -> Summary:
        """Asks a model through the gateway, charged to the caller's subscription. Text in a ticket is only data."""
        return await unless_left(request, enricher.summarize(models, ticket))

    @routes.post(
        "/stream",
        operation_id="stream-answer",
        summary="Answer a question word by word",
        response_class=PieceResponse,
        status_code=200,
        responses=_STREAM_ERRORS | _STREAM,
    )
    async def stream(question: Question, models: Models, request: Request) -> PieceResponse:
        """Server-sent events, each a piece of the answer as the model writes it, charged as any other call."""
        answer = await unless_left(request, enricher.answer(models, question))
        return PieceResponse(answer.pieces(), answer.request_id)

    return routes
