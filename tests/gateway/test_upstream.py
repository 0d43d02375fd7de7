"""Bytes to a backend and back, over real sockets."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from gateway.upstream import AiohttpUpstream, Request, UpstreamCut, UpstreamNonsense, UpstreamUnreachable

type Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi"
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@asynccontextmanager
async def backend(handler: Handler) -> AsyncIterator[Request]:
    """Run a backend that does what `handler` does with each connection; yields a request to it."""
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield Request("POST", f"http://{host}:{port}/x?api-version=1", {"api-key": "k"}, b"{}")
    finally:
        server.close()
        server.close_clients()
        await server.wait_closed()


@pytest.fixture
async def upstream() -> AsyncIterator[AiohttpUpstream]:
    opened = AiohttpUpstream(connect_timeout=2)
    yield opened
    await opened.close()


async def head(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n") + await reader.readexactly(2)


async def numbered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each request of a connection with its own body, in two pieces and after a while."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            lines = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
            length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length"))
            body = await reader.readexactly(length)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (2 * length) + body)
            await writer.drain()
            await asyncio.sleep(int(body) % 7 / 500)
            writer.write(body)
            await writer.drain()
    writer.close()


async def test_many_calls_and_cancellations(upstream: AiohttpUpstream) -> None:
    """Of hundreds of calls at once each gets its own answer, whoever is cancelled meanwhile, before or in an answer."""

    async def ask(request: Request, number: int) -> bytes:
        body = b"%d" % number
        answer = await upstream.send(replace(request, body=body))
        try:
            got = b""
            while piece := await answer.chunk():
                got += piece
        finally:
            answer.close()
        assert got == body * 2
        return got

    async with asyncio.timeout(60), backend(numbered) as request:
        for first in range(0, 600, 200):
            calls = [asyncio.create_task(ask(request, first + number)) for number in range(200)]
            for number in range(0, 200, 3):
                asyncio.get_running_loop().call_later(number / 10_000, calls[number].cancel)
            ended = await asyncio.gather(*calls, return_exceptions=True)
            wrong = [each for each in ended if not isinstance(each, bytes | asyncio.CancelledError)]
            assert wrong == []
            assert sum(isinstance(each, bytes) for each in ended) >= 133
        assert await ask(request, 7) == b"77"
        await upstream.close()


async def test_a_name_that_is_not_found_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time for a connection has the look-up of the backend's name in it."""

    async def silence(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", silence)
    upstream = AiohttpUpstream(connect_timeout=0.05)
    async with asyncio.timeout(10):
        with pytest.raises(UpstreamUnreachable):
            await upstream.send(Request("POST", "http://backend.invalid/x", {}, b"{}"))
    await upstream.close()


async def test_what_is_sent(upstream: AiohttpUpstream) -> None:
    """The request goes out with its headers and no others that say who we are."""
    seen: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await head(reader))
        writer.write(OK)
        await writer.drain()
        writer.close()

    async with backend(handler) as request:
        answer = await upstream.send(request)
        assert answer.status == 200
        assert await answer.chunk() == b"hi"
        assert await answer.chunk() == b""
        answer.close()
    lines = seen[0].split(b"\r\n")
    assert lines[0] == b"POST /x?api-version=1 HTTP/1.1"
    assert {line.partition(b":")[0].lower() for line in lines[1:-2]} == {b"host", b"api-key", b"content-length"}


async def test_a_refused_connection(upstream: AiohttpUpstream) -> None:
    """Nobody listens: UpstreamUnreachable."""
    async with backend(lambda _reader, _writer: asyncio.sleep(0)) as request:
        pass
    with pytest.raises(UpstreamUnreachable, match="no connection"):
        await upstream.send(request)


async def test_closed_before_an_answer(upstream: AiohttpUpstream) -> None:
    """A connection that is closed before a status line was not answered, and a new one is not tried twice."""
    connections = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await head(reader)
        writer.close()

    async with backend(handler) as request:
        with pytest.raises(UpstreamUnreachable):
            await upstream.send(request)
    assert connections == 1


async def test_a_kept_connection_that_was_closed_meanwhile(upstream: AiohttpUpstream) -> None:
    """A backend that drops a kept connection when the next request comes on it gets that request once more."""
    connections = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await head(reader)
        writer.write(OK)
        await writer.drain()
        await reader.read(1)
        writer.close()

    async with backend(handler) as request:
        for _ in range(2):
            answer = await upstream.send(request)
            assert await answer.chunk() == b"hi"
            assert await answer.chunk() == b""
            answer.close()
    assert connections == 2


async def test_garbage(upstream: AiohttpUpstream) -> None:
    """What is not HTTP is UpstreamNonsense."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        writer.write(b"\x16\x03\x01 no HTTP\r\n\r\n")
        await writer.drain()
        writer.close()

    async with backend(handler) as request:
        with pytest.raises(UpstreamNonsense):
            await upstream.send(request)


@pytest.mark.parametrize("reset", [False, True])
async def test_a_cut_answer(upstream: AiohttpUpstream, reset: bool) -> None:
    """What came before the cut is read; then UpstreamCut, by FIN and by RST."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        writer.write(STREAM + b"2\r\nhi\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)
        if reset:
            writer.transport.abort()
        writer.close()

    async with backend(handler) as request:
        answer = await upstream.send(request)
        assert await answer.chunk() == b"hi"
        with pytest.raises(UpstreamCut):
            await answer.chunk()
        answer.close()


async def test_chunks_come_when_they_are_made_and_close_is_noticed(upstream: AiohttpUpstream) -> None:
    """A chunk is there before the next one was made; closing in the middle ends the connection for the backend."""
    more, left = asyncio.Event(), asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        for piece in (b"one", b"two"):
            writer.write((b"" if more.is_set() else STREAM) + b"3\r\n" + piece + b"\r\n")
            await writer.drain()
            await more.wait()
        assert await reader.read() == b""
        left.set()
        writer.close()

    async with backend(handler) as request:
        answer = await upstream.send(request)
        assert await answer.chunk() == b"one"
        more.set()
        assert await answer.chunk() == b"two"
        answer.close()
        answer.close()
        async with asyncio.timeout(2):
            await left.wait()


def test_no_secret_in_a_repr() -> None:
    """A request's repr shows neither its headers nor its body."""
    request = Request("POST", "http://127.0.0.1/x", {"api-key": "secret"}, b"prompt")
    assert "secret" not in repr(request)
    assert "prompt" not in repr(replace(request, body=b"prompt"))
