"""Bodies that FastAPI reads: how much of them, and for how long."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
from fastapi import Body, FastAPI
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from hosting.web.bounded_bodies import LONGEST_BODY, bounded
from hosting.web.error_answers import add_error_handlers
from tests.served import served


@pytest.fixture
async def address() -> AsyncIterator[tuple[str, int]]:
    """Return where an app with one typed route listens, whose bodies may take 0.3 seconds."""
    app = FastAPI()
    add_error_handlers(app)

    @app.post("/")
    async def take(values: Annotated[dict[str, Any], Body()]) -> int:
        return len(values["text"])

    async def front(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, bounded(receive, seconds=0.3), send)

    async with served(front) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        yield host, int(port)


async def post(address: tuple[str, int], body: bytes, length: int) -> tuple[int, Any]:
    """Send this part of a body that is said to be so long; return the answer's status and JSON."""
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(*address)
        head = "POST / HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\n"
        writer.write(f"{head}content-length: {length}\r\n\r\n".encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        size = int(answer.lower().partition(b"content-length: ")[2].split()[0])
        found = int(answer.split()[1]), json.loads(await reader.readexactly(size))
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    return found


async def test_up_to_the_limit(address: tuple[str, int]) -> None:
    """A body that fits is read as ever."""
    size = LONGEST_BODY - len('{"text":""}')
    assert await post(address, b'{"text":"' + b"a" * size + b'"}', LONGEST_BODY) == (200, size)


async def test_over_the_limit(address: tuple[str, int]) -> None:
    """A body over the limit is refused before the rest of it has come."""
    status, answer = await post(address, b'{"text":"' + b"a" * LONGEST_BODY, 10 * LONGEST_BODY)
    assert (status, answer["error"]["code"]) == (413, "request_too_large")


async def test_too_slow(address: tuple[str, int]) -> None:
    """A body that stops coming is a time-out."""
    status, answer = await post(address, b'{"text":"', 1000)
    assert (status, answer["error"]["code"]) == (408, "request_timeout")


async def test_all_waiting_counts_and_none_after_the_body() -> None:
    """Pauses add up; once the body is there, nothing that is waited for is bounded."""
    messages: list[Message] = [{"type": "http.request", "body": b"a", "more_body": True}] * 8

    async def receive() -> Message:
        await asyncio.sleep(0.05)
        return messages.pop()

    slow = bounded(receive, seconds=0.2)

    async def read() -> None:
        while messages:
            await slow()

    with pytest.raises(HTTPException, match="408"):
        await read()
    messages[:] = [{"type": "http.disconnect"}, {"type": "http.request", "body": b""}]
    done = bounded(receive, seconds=0.06)
    assert [(await done())["type"], (await done())["type"]] == ["http.request", "http.disconnect"]
