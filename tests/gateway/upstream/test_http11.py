"""Bytes to a backend and back, over real sockets."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from gateway.upstream.http11 import Http11Upstream
from gateway.upstream.upstream import Request, UpstreamCut, UpstreamNonsense, UpstreamUnreachable
from tests.gateway.upstream.backends import OK, STREAM, always, backend, head, read


@pytest.fixture
async def upstream() -> AsyncIterator[Http11Upstream]:
    opened = Http11Upstream(connect_timeout=2)
    yield opened
    await opened.close()


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


async def test_many_calls_and_cancellations(upstream: Http11Upstream) -> None:
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


async def test_what_is_sent(upstream: Http11Upstream) -> None:
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


async def test_a_refused_connection(upstream: Http11Upstream) -> None:
    """Nobody listens: UpstreamUnreachable."""
    async with backend(lambda _reader, _writer: asyncio.sleep(0)) as request:
        pass
    with pytest.raises(UpstreamUnreachable, match="no connection"):
        await upstream.send(request)


async def test_closed_before_an_answer(upstream: Http11Upstream) -> None:
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


async def test_a_kept_connection_that_was_closed_meanwhile(upstream: Http11Upstream) -> None:
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


async def test_garbage(upstream: Http11Upstream) -> None:
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
async def test_a_cut_answer(upstream: Http11Upstream, reset: bool) -> None:
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


async def test_chunks_come_when_they_are_made_and_close_is_noticed(upstream: Http11Upstream) -> None:
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
        async with asyncio.timeout(30):
            await left.wait()


def test_no_secret_in_a_repr() -> None:
    """A request's repr shows neither its headers nor its body."""
    request = Request("POST", "http://127.0.0.1/x", {"api-key": "secret"}, b"prompt")
    assert "secret" not in repr(request)
    assert "prompt" not in repr(replace(request, body=b"prompt"))


async def test_a_cancellation_at_any_step_leaves_nothing_behind(upstream: Http11Upstream) -> None:
    """Whenever a call is cancelled, the next one has its own answer, and no connection is neither used nor kept."""

    async def ask(request: Request, body: bytes) -> bytes:
        return await read(await upstream.send(replace(request, body=body)))

    async with asyncio.timeout(60), backend(numbered) as request:
        for steps in range(60):
            call = asyncio.create_task(ask(request, b"1%02d" % steps))
            for _ in range(steps):
                await asyncio.sleep(steps % 3 / 4000)
            call.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await call
            own = b"2%02d" % steps
            assert await ask(request, own) == own * 2
        kept = upstream._connections
        assert sum(map(len, kept._idle.values())) == len(kept._all)


async def test_a_connection_is_used_again(upstream: Http11Upstream) -> None:
    """Requests one after the other have one connection, whether or not their answers are read to the end."""
    connections = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await always(OK)(reader, writer)

    async with asyncio.timeout(20), backend(handler) as request:
        for _ in range(3):
            assert await read(await upstream.send(request)) == b"hi"
        (await upstream.send(request)).close()
        assert await read(await upstream.send(request)) == b"hi"
    assert connections == 1


async def test_a_second_close_spares_the_next_request(upstream: Http11Upstream) -> None:
    """An answer that is closed again does not touch its connection, which serves another one by now."""
    go_on = asyncio.Event()
    served = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        while True:
            await head(reader)
            served += 1
            if served == 2:
                writer.write(OK[:-1])
                await go_on.wait()
                writer.write(OK[-1:])
            else:
                writer.write(OK)

    async with asyncio.timeout(20), backend(handler) as request:
        first = await upstream.send(request)
        assert await read(first) == b"hi"
        second = await upstream.send(request)
        first.close()
        go_on.set()
        assert await read(second) == b"hi"


@pytest.mark.parametrize("surplus", [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", b"?"])
@pytest.mark.parametrize("later", [False, True])
async def test_what_nobody_asked_for_is_nobodys_answer(upstream: Http11Upstream, surplus: bytes, later: bool) -> None:
    """Bytes after an answer, with it or later, end the connection: they are not taken for the next answer."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        writer.write(OK if later else OK + surplus)
        if later:
            await asyncio.sleep(0.02)
            writer.write(surplus)
        await reader.read()
        writer.close()

    async with asyncio.timeout(20), backend(handler) as request:
        for _ in range(3):
            assert await read(await upstream.send(request)) == b"hi"
            await asyncio.sleep(0.05 if later else 0)


async def test_a_kept_connection_lost_in_the_middle_of_a_head_is_not_tried_again(upstream: Http11Upstream) -> None:
    """A request that began to be answered is not sent twice."""
    asked = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        for answer in (OK, b"HTTP/1.1 200"):
            await head(reader)
            asked += 1
            writer.write(answer)
        writer.close()

    async with asyncio.timeout(20), backend(handler) as request:
        await read(await upstream.send(request))
        with pytest.raises(UpstreamUnreachable, match="before an answer"):
            await upstream.send(request)
    assert asked == 2


async def test_an_unread_answer_holds_its_backend_back(upstream: Http11Upstream) -> None:
    """A backend that sends faster than its answer is read has to wait; all of it arrives."""
    size, written = 30_000_000, 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // 10_000):
            writer.write(b"x" * 10_000)
            await writer.drain()
            written += 10_000
        await reader.read()
        writer.close()

    async with asyncio.timeout(60), backend(handler) as request:
        answer = await upstream.send(request)
        before = -1
        while written != before:
            before = written
            await asyncio.sleep(0.1)
        assert written < size
        assert len(await read(answer)) == size


async def test_an_idle_connection_is_closed(upstream: Http11Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that nobody needs is closed before its backend does so."""
    monkeypatch.setattr("gateway.upstream.kept_connections.IDLE_SECONDS", 0.05)
    monkeypatch.setattr("gateway.upstream.kept_connections.SWEEP_SECONDS", 0.02)
    closed = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        writer.write(OK)
        assert await reader.read() == b""
        closed.set()
        writer.close()

    async with asyncio.timeout(20), backend(handler) as request:
        assert await read(await upstream.send(request)) == b"hi"
        await closed.wait()


async def test_closing_ends_what_is_under_way(upstream: Http11Upstream) -> None:
    """When an upstream is closed, an answer that is being read is cut, and nothing new is sent."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        writer.write(STREAM)
        await reader.read()
        writer.close()

    async with asyncio.timeout(20), backend(handler) as request:
        answer = await upstream.send(request)
        reading = asyncio.create_task(answer.chunk())
        await asyncio.sleep(0)
        await upstream.close()
        with pytest.raises(UpstreamCut):
            await reading
        with pytest.raises(UpstreamUnreachable):
            await upstream.send(request)
