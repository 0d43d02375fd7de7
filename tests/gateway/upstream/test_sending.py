"""Requests as bytes, with bodies that are there and bodies that come."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from gateway.upstream.http11 import Http11Upstream
from gateway.upstream.origin import place_of
from gateway.upstream.sending import head_of, write_pieces
from gateway.upstream.upstream import Request, UpstreamCut, UpstreamUnreachable
from tests.gateway.upstream.backends import OK, backend, read

URL = "http://a.example/x"


@dataclass
class Pieces:
    """A body of these pieces, each after the event of its place, and then perhaps a fault."""

    pieces: Sequence[bytes]
    length: int | None = None
    repeatable: bool = True
    raises: Exception | None = None
    gates: dict[int, asyncio.Event] = field(default_factory=dict)
    begun: int = 0
    given: int = 0
    ended: bool = False

    @property
    def fault(self) -> Exception | None:
        return self.raises

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.begun += 1
        try:
            for place, piece in enumerate(self.pieces):
                if place in self.gates:
                    await self.gates[place].wait()
                self.given += 1
                yield piece
            if self.raises is not None:
                raise self.raises
        finally:
            self.ended = True


class Sheet:
    """A writer on paper, of which nothing more leaves once it is `broken`."""

    def __init__(self) -> None:
        self.data = b""
        self.broken = False

    def write(self, data: bytes) -> None:
        self.data += data

    async def drained(self) -> bool:
        return not self.broken


@asynccontextmanager
async def opened() -> AsyncIterator[Http11Upstream]:
    upstream = Http11Upstream(connect_timeout=20)
    async with asyncio.timeout(60):
        yield upstream
        await upstream.close()


@pytest.mark.parametrize(
    ("method", "body", "framing"),
    [
        ("POST", b"hello", b"content-length: 5\r\n"),
        ("POST", b"", b"content-length: 0\r\n"),
        ("DELETE", b"", b"content-length: 0\r\n"),
        ("GET", b"", b""),
        ("HEAD", b"", b""),
        ("POST", Pieces([b"hello"], 5), b"content-length: 5\r\n"),
        ("POST", Pieces([], 0), b"content-length: 0\r\n"),
        ("POST", Pieces([b"hello"]), b"transfer-encoding: chunked\r\n"),
    ],
)
def test_heads(method: str, body: bytes | Pieces, framing: bytes) -> None:
    """A head says where its request goes, what it carries and how long its body is."""
    request = Request(method, URL, {"api-key": "k\xfc"}, body)
    expected = b"%b /x HTTP/1.1\r\nhost: a.example\r\napi-key: k\xfc\r\n%b\r\n" % (method.encode(), framing)
    assert head_of(request, place_of(URL)) == expected


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "a\rb", "a\0", "\u4e2d"])
def test_no_field_becomes_two(value: str) -> None:
    """A value that would end its line, or has no bytes of its own, is not sent."""
    with pytest.raises(ValueError, match=r"a header field|latin-1"):
        head_of(Request("POST", URL, {"api-key": value}, b""), place_of(URL))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (Pieces([b"he", b"", b"llo"], 5), b"hello"),
        (Pieces([b"he", b"", b"0123456789abcdef"]), b"2\r\nhe\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n"),
        (Pieces([]), b"0\r\n\r\n"),
    ],
)
async def test_pieces(body: Pieces, expected: bytes) -> None:
    """A body of a known length goes out as it is, any other in chunks, none of which ends it too early."""
    sheet = Sheet()
    await write_pieces(sheet, body)
    assert sheet.data == expected


@pytest.mark.parametrize(("pieces", "sent"), [([b"hello", b"!"], b"hello"), ([b"hell"], b"hell")])
async def test_a_body_of_another_length(pieces: list[bytes], sent: bytes) -> None:
    """Of a body that is longer than it said no byte too many is sent; one that is shorter does not end quietly."""
    sheet = Sheet()
    with pytest.raises(ValueError, match="bytes"):
        await write_pieces(sheet, Pieces(pieces, 5))
    assert sheet.data == sent


async def test_nothing_more_is_asked_of_a_body_that_cannot_be_sent() -> None:
    """When its connection is lost, a body is read no further."""
    sheet, body = Sheet(), Pieces([b"a"] * 10)
    sheet.broken = True
    await write_pieces(sheet, body)
    assert body.given == 1


async def test_a_body_waits_for_a_backend_that_does_not_read() -> None:
    """A body is asked for no faster than the backend takes it; then all of it goes out, and in order."""
    read_on = asyncio.Event()
    body = Pieces([bytes([place % 256]) * 100_000 for place in range(300)], 30_000_000)
    got = b""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal got
        await reader.readuntil(b"\r\n\r\n")
        await read_on.wait()
        got = await reader.readexactly(30_000_000)
        writer.write(OK)

    async with opened() as upstream, backend(handler) as request:
        sending = asyncio.create_task(upstream.send(replace(request, body=body)))
        before = -1
        while body.given != before:
            before = body.given
            await asyncio.sleep(0.1)
        assert 0 < before < 300
        read_on.set()
        assert await read(await sending) == b"hi"
    assert got == b"".join(body.pieces)


@pytest.mark.parametrize("length", [None, 4_000_000])
async def test_an_answer_before_the_body_has_ended(length: int | None) -> None:
    """A backend may answer early: its answer is passed on, the rest is not sent, its connection not used again."""
    gate = asyncio.Event()
    body = Pieces([b"first", b"never"], length, gates={1: gate})

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        await reader.read()

    async with opened() as upstream, backend(handler) as request:
        answer = await upstream.send(replace(request, body=body))
        assert (answer.status, await read(answer)) == (413, b"no")
        while not body.ended:
            await asyncio.sleep(0.001)
        assert body.given == 1
        assert not upstream._connections._idle


async def test_an_answer_that_comes_while_the_body_goes() -> None:
    """An answer may begin while its request is still being sent; both go on to their ends."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            await reader.readuntil(b"first\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nwait")
            await reader.readuntil(b"6\r\nsecond\r\n0\r\n\r\n")
            writer.write(b"done")

    async with opened() as upstream, backend(handler) as request:
        for _ in range(2):
            gate = asyncio.Event()
            body = Pieces([b"first", b"second"], gates={1: gate})
            answer = await upstream.send(replace(request, body=body))
            assert await answer.chunk() == b"wait"
            gate.set()
            assert await read(answer) == b"done"
        assert len(upstream._connections._all) == 1


@pytest.mark.parametrize("length", [None, 10])
async def test_the_fault_of_a_body_is_what_send_raises(length: int | None) -> None:
    """What goes wrong with a body is told as it is, and the backend has no whole request."""
    over = asyncio.Event()
    got = b""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal got
        got = await reader.read()
        over.set()

    async with opened() as upstream, backend(handler) as request:
        with pytest.raises(LookupError, match="the caller is gone"):
            await upstream.send(
                replace(request, body=Pieces([b"hello"], length, raises=LookupError("the caller is gone")))
            )
        await over.wait()
        assert not upstream._connections._idle
    assert not got.endswith(b"0\r\n\r\n")


async def test_a_cancelled_request_reads_its_body_no_further() -> None:
    """Cancelled in the middle of its body, a request leaves neither its connection nor its body open."""
    over = asyncio.Event()
    body = Pieces([b"first", b"never"], gates={1: asyncio.Event()})

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        over.set()

    async with opened() as upstream, backend(handler) as request:
        sending = asyncio.create_task(upstream.send(replace(request, body=body)))
        while not body.given:
            await asyncio.sleep(0.001)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await over.wait()
        assert body.ended


@pytest.mark.parametrize("repeatable", [False, True])
async def test_a_kept_connection_that_was_closed_under_a_body(repeatable: bool) -> None:
    """On a new connection a body begins again at its first byte, where it can; else its request has failed."""
    body = Pieces([b"hello"], 5, repeatable)

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(5 if b"content-length: 5" in lines else 2)
        writer.write(OK)
        await reader.read(1)

    async with opened() as upstream, backend(handler) as request:
        await read(await upstream.send(request))
        if repeatable:
            assert await read(await upstream.send(replace(request, body=body))) == b"hi"
        else:
            with pytest.raises(UpstreamUnreachable):
                await upstream.send(replace(request, body=body))
    assert body.begun == 1 + repeatable


async def test_the_fault_of_a_body_cuts_an_answer_that_has_begun() -> None:
    """When a body breaks off while its answer comes, the answer is cut, and its connection closed."""
    gate = asyncio.Event()
    body = Pieces([b"first", b"second"], raises=LookupError("the caller is gone"), gates={1: gate})

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"first\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nwait")
        await reader.read()

    async with opened() as upstream, backend(handler) as request:
        answer = await upstream.send(replace(request, body=body))
        assert await answer.chunk() == b"wait"
        gate.set()
        with pytest.raises(UpstreamCut, match="the request's body broke off"):
            await answer.chunk()
        answer.close()
        assert not upstream._connections._idle
