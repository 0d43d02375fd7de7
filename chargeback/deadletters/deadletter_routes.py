"""`/chargeback/deadletters`: what operators do with dead letters over HTTP."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import ClientDisconnect

from chargeback.deadletters.deadletters import DeadLetter
from chargeback.deadletters.requeueing import MAX_EVENT_BYTES, DeadLetters
from chargeback.errors import EventTimeout, EventTooLarge
from chargeback.readers import ReaderOf, operator_of

BODY_SECONDS: Final = 30.0

_REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
    401: {"description": "Nobody we know is asking."},
    403: {"description": "The key is no operator's."},
    404: {"description": "There is no dead letter of this id."},
    503: {"description": "The tables or the event hub did not answer in time."},
}
_REQUEUE_REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
    408: {"description": "The mended event did not arrive in time."},
    409: {"description": "It was requeued before, or its end was not kept."},
    413: {"description": "The mended event is over 1 MB."},
    422: {"description": "It would become a dead letter again; the message says why."},
}
_MENDED: Final[dict[str, Any]] = {
    "requestBody": {
        "description": "The event to publish in place of the one that was kept; none publishes that as it is.",
        "required": False,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True)


class RequeueView(_Wire):
    """`mended` says that another body than the one that was kept was published."""

    at: datetime
    by: str
    mended: bool


class DeadLetterView(_Wire):
    """An event that cannot be billed: why, and where it stood in the stream."""

    id: str
    reason: str
    incarnation: str
    partition: str
    sequence_number: int
    enqueued_at: datetime
    size: Annotated[int, Field(description="The length of the event in bytes.")]
    truncated: Annotated[bool, Field(description="Only the first 640 KiB were kept.")]
    requeues: list[RequeueView]

    @classmethod
    def of(cls, letter: DeadLetter) -> Self:
        return cls.model_validate(
            {
                **{name: getattr(letter, name) for name in cls.model_fields if hasattr(letter, name)},
                "incarnation": letter.lane.incarnation,
                "partition": letter.lane.partition,
            }
        )


class DeadLetterPage(_Wire):
    dead_letters: list[DeadLetterView]
    next: Annotated[str | None, Field(description="What `after` is to be for the next page; null on the last one.")]


class WholeDeadLetter(_Wire):
    """A dead letter with what was kept of the event: as text where it is text, else in base64."""

    dead_letter: DeadLetterView
    encoding: Literal["utf-8", "base64"]
    body: str


def router(letters: DeadLetters, reader_of: ReaderOf) -> APIRouter:
    """Return the routes; errors of `chargeback.errors` and of the seams are for the app's exception handlers."""
    operator = operator_of(reader_of)
    routes = APIRouter(prefix="/chargeback/deadletters", tags=["dead letters"], responses=_REFUSALS)
    _add_reading(routes, letters, operator)
    _add_requeue(routes, letters, operator)
    return routes


def _add_reading(routes: APIRouter, letters: DeadLetters, operator: Callable[..., Awaitable[str]]) -> None:
    @routes.get(
        "",
        operation_id="list-dead-letters",
        summary="List the events that cannot be billed, the latest first",
        dependencies=[Depends(operator)],
    )
    async def list_dead_letters(
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        after: Annotated[str, Query(max_length=100, description="The last id already seen.")] = "",
        waiting: Annotated[bool, Query(description="Only those that were never requeued.")] = False,
    ) -> DeadLetterPage:
        page = await letters.page(limit, after, waiting=waiting)
        return DeadLetterPage(dead_letters=[DeadLetterView.of(each) for each in page.letters], next=page.next)

    @routes.get(
        "/{id}",
        operation_id="get-dead-letter",
        summary="Show a dead letter with its body",
        dependencies=[Depends(operator)],
    )
    async def get_dead_letter(id: str) -> WholeDeadLetter:  # noqa: A002 - it is called so on the wire
        letter, body = await letters.show(id)
        shown = DeadLetterView.of(letter)
        try:
            return WholeDeadLetter(dead_letter=shown, encoding="utf-8", body=body.decode())
        except UnicodeDecodeError:
            return WholeDeadLetter(dead_letter=shown, encoding="base64", body=base64.b64encode(body).decode())


def _add_requeue(routes: APIRouter, letters: DeadLetters, operator: Callable[..., Awaitable[str]]) -> None:
    @routes.post(
        "/{id}/requeue",
        operation_id="requeue-dead-letter",
        summary="Publish a dead letter's event again, as it is or mended",
        responses=_REQUEUE_REFUSALS,
        openapi_extra=_MENDED,
    )
    async def requeue_dead_letter(
        id: str,  # noqa: A002 - it is called so on the wire
        by: Annotated[str, Depends(operator)],
        mended: Annotated[bytes, Depends(_body)],
        force: Annotated[bool, Query(description="Repeat a requeue, or publish what cannot be billed.")] = False,
    ) -> DeadLetterView:
        """The row stays, and says when and by whom it was requeued."""
        return DeadLetterView.of(await letters.requeue(id, by, mended, force=force))


async def _body(request: Request) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > MAX_EVENT_BYTES:
                    raise EventTooLarge(f"An event has at most {MAX_EVENT_BYTES} bytes.")
    except TimeoutError as error:
        raise EventTimeout(f"The event did not arrive within {BODY_SECONDS:g} seconds.") from error
    except ClientDisconnect as error:
        raise EventTimeout("The caller left before the event had arrived.") from error
    return bytes(body)
