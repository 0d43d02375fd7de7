"""The bounds on a request's head, on a real port."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from local.host.http_heads import BoundedHeads

OK = b"HTTP/1.1 200 OK\r\n"


async def app(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


class Impatient(BoundedHeads):
    seconds = 0.2


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Yield a connection to a server whose heads must come within 0.2 seconds."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, http=Impatient, lifespan="off", log_config=None)
        config.load()
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        await server.startup(sockets=[listener])
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        try:
            yield reader, writer
        finally:
            writer.close()
            for running in server.servers:
                running.close()
                await running.wait_closed()


async def everything(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(30):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b"reset"


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nx-large: " + b"a" * 33_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"x-many: aaaaaaaaaaaaaaaaaaaaaaaa\r\n" * 1_100 + b"\r\n",
        b"GET /" + b"a" * 33_000 + b" HTTP/1.1\r\n\r\n",
    ],
    ids=["one header", "many headers", "path"],
)
async def test_a_large_head_is_refused(head: bytes) -> None:
    """More than 32 KB of a head are answered with 431 and the end of the connection."""
    async with connected() as (reader, writer):
        writer.write(head)
        assert (await everything(reader)).startswith((b"HTTP/1.1 431 ", b"reset"))


async def test_a_head_without_end_is_refused() -> None:
    """A header that never ends is cut off soon after 32 KB, before its sender has said a megabyte."""
    async with connected() as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nx-endless: ")
        sent = 0
        ended = asyncio.create_task(everything(reader))
        while not ended.done() and sent < 10_000_000:
            writer.write(b"a" * 16_384)
            sent += 16_384
            await asyncio.sleep(0)
            try:
                await writer.drain()
            except ConnectionError:
                break
        assert (await ended).startswith((b"HTTP/1.1 431 ", b"reset"))
        assert sent < 10_000_000


async def test_trailers_are_part_of_the_head() -> None:
    """Trailers without end are cut off as headers are, and a few are let through."""
    chunked = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
    async with connected() as (reader, writer):
        writer.write(chunked + b"x-trailer: a\r\n\r\n")
        async with asyncio.timeout(30):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(OK)
        writer.write(chunked + b"x-trailer: aaaaaaaaaaaaaaaaaaaa\r\n" * 1_200)
        assert (await everything(reader)).startswith((b"HTTP/1.1 431 ", b"reset"))


@pytest.mark.parametrize("beginning", [b"", b"GET / HTTP/1.1\r\nx-slow: "], ids=["silence", "half a head"])
async def test_a_head_must_come_in_time(beginning: bytes) -> None:
    """A connection without a whole head is closed after a while, without an answer."""
    async with connected() as (reader, writer):
        writer.write(beginning)
        assert await everything(reader) == b""


async def test_slow_bodies_and_pipelined_requests_are_no_heads() -> None:
    """A body may be larger and slower than a head, and what is pipelined behind it is read as its own head."""
    async with connected() as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\ncontent-length: 100000\r\n\r\n")
        writer.write(b"a" * 50_000)
        await writer.drain()
        await asyncio.sleep(0.3)
        writer.write(b"a" * 50_000 + b"GET / HTTP/1.1\r\nx-part: ")
        async with asyncio.timeout(30):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(OK)
            writer.write(b"b" * 1_000 + b"\r\n\r\n")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(OK)
