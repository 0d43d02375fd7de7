"""How a request comes in: its body within bounds of size and time, its errors out in OpenAI's shape."""

import asyncio
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any, Final

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import Message

from enrichment.errors import BodyTimeout, BodyTooLarge, CallerLeft, EnrichmentError, InvalidBody, answer
from enrichment.requests.faults import fault_of

MAX_BODY_BYTES: Final = 1024 * 1024
BODY_SECONDS: Final = 30.0

type Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class IntakeRoute(APIRoute):
    """A route that answers domain errors itself.

    Answered here and not by the app's exception handlers, an error reaches the caller before the dependencies of the
    route are left; the clients of models wait there for usage events, which is not the caller's time to spend.
    """

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()

        async def taken_in(request: Request) -> Response:
            try:
                body = await _read(request)
                return await handle(Request(request.scope, _replay(body, request)))
            except EnrichmentError as error:
                return await answer(request, error)
            except RequestValidationError as invalid:
                return await answer(request, _invalid(invalid))
            except HTTPException as refused:
                if refused.status_code != HTTPStatus.BAD_REQUEST:
                    raise
                # What FastAPI makes of bytes that are no UTF-8 and of JSON that is nested too deeply.
                return await answer(request, _not_json())

        return taken_in


async def unless_left[T](request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` returns; when the caller leaves first, cancel it and raise CallerLeft.

    The request's body must have been read.
    """
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_leave(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise CallerLeft("The caller left before the answer.")
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _leave(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _read(request: Request) -> bytes:
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > MAX_BODY_BYTES:
        raise _too_large()
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise CallerLeft("The caller left before its body was whole.")
                body += message.get("body", b"")
                if len(body) > MAX_BODY_BYTES:
                    raise _too_large()
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError as late:
        raise BodyTimeout(f"The body did not arrive within {BODY_SECONDS:g} s.") from late


def _replay(body: bytes, request: Request) -> Callable[[], Coroutine[Any, Any, Message]]:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else await request.receive()

    return receive


def _too_large() -> BodyTooLarge:
    return BodyTooLarge(f"The body is over {MAX_BODY_BYTES} bytes.")


def _not_json() -> InvalidBody:
    return InvalidBody("The body is not JSON.", is_json=False)


def _invalid(invalid: RequestValidationError) -> InvalidBody:
    """Name the first field that is wrong."""
    first = invalid.errors()[0]
    if first["type"] == "json_invalid":
        return _not_json()
    fault = fault_of(first, first["loc"][1:])
    return InvalidBody(str(fault), param=fault.where or None)
