"""Answers from bytes: the same whatever the reads, and never anything but an answer or an UpstreamError."""

import asyncio
import gzip
import zlib
from collections.abc import Iterable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.upstream.connection import MOST_HELD, MOST_OVERHEAD, Connection
from gateway.upstream.origin import Origin
from gateway.upstream.upstream import UpstreamError, UpstreamUnreachable

HEAD = b"HTTP/1.1 200 OK\r\nX-Name: Value\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
PACKED = gzip.compress(b"hello " * 50, mtime=0)
DEFLATED = zlib.compress(b"hello")


class Wire(asyncio.Transport):
    """A transport to nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.aborted = False
        self.paused = False
        self.unsent = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.aborted

    def pause_reading(self) -> None:
        assert not self.paused
        self.paused = True

    def resume_reading(self) -> None:
        assert self.paused
        self.paused = False

    def get_write_buffer_size(self) -> int:
        return self.unsent


class Keeper:
    def __init__(self) -> None:
        self.freed = 0

    def free(self, connection: Connection) -> None:
        self.freed += 1

    def gone(self, connection: Connection) -> None:
        return


type Read = tuple[str, int, bytes, bool]
"""The error's name or nothing, the status, the body that could be read, and whether the connection was kept."""


async def outcome(pieces: Iterable[bytes], *, head_only: bool = False, reset: bool = False) -> Read:
    """Return what becomes of an answer that arrives in these pieces, after which the backend closes."""
    wire, keeper = Wire(), Keeper()
    connection = Connection(Origin("backend", 80, tls=False), keeper)
    connection.connection_made(wire)
    exchange = connection.begin(b"head", b"", head_only=head_only)
    body: list[bytes] = []

    async def read() -> None:
        await exchange.head()
        while part := await exchange.chunk():
            body.append(part)

    reading = asyncio.create_task(read())
    for piece in pieces:
        await asyncio.sleep(0)
        if wire.aborted or exchange.complete:
            break
        connection.data_received(piece)
    if not wire.aborted:
        connection.connection_lost(ConnectionResetError() if reset else None)
    async with asyncio.timeout(10):
        await asyncio.wait([reading])
    error = reading.exception()
    assert error is None or isinstance(error, UpstreamError), error
    exchange.close()
    assert not (wire.aborted and keeper.freed)
    return type(error).__name__ if error else "", exchange.status, b"".join(body), keeper.freed == 1


ANSWERS: list[tuple[bytes, Read]] = [
    (HEAD + b"Content-Length: 5\r\n\r\nhello", ("", 200, b"hello", True)),
    (HEAD + b"Content-Length: 0\r\n\r\n", ("", 200, b"", True)),
    (HEAD + b"Content-Length: 5\r\nConnection: close\r\n\r\nhello", ("", 200, b"hello", False)),
    (HEAD.replace(b"1.1", b"1.0") + b"Content-Length: 5\r\n\r\nhello", ("", 200, b"hello", False)),
    (CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", ("", 200, b"hello", True)),
    (CHUNKED + b"2;a=b\r\nhe\r\n3\r\nllo\r\n0\r\nX-Trailer: 1\r\nX-Other: 9\r\n\r\n", ("", 200, b"hello", True)),
    (HEAD + b"\r\nhello", ("", 200, b"hello", False)),
    (INTERIM + HEAD + b"Content-Length: 5\r\n\r\nhello", ("", 200, b"hello", True)),
    (b"HTTP/1.1 204 No Content\r\n\r\n", ("", 204, b"", True)),
    (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nContent-Encoding: br\r\n\r\n", ("", 304, b"", True)),
    (
        HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(PACKED) + PACKED,
        ("", 200, b"hello " * 50, True),
    ),
    (HEAD + b"Content-Encoding: deflate\r\n\r\n" + DEFLATED, ("", 200, b"hello", False)),
    (HEAD + b"Content-Encoding: deflate\r\n\r\n" + DEFLATED[2:-4], ("", 200, b"hello", False)),
    (HEAD + b"Content-Encoding: gzip\r\n\r\n" + PACKED + PACKED, ("", 200, b"hello " * 100, False)),
    (HEAD + b"Content-Encoding: gzip\r\n\r\n" + PACKED[:-4], ("UpstreamCut", 200, b"hello " * 50, False)),
    (HEAD + b"Content-Encoding: gzip\r\n\r\nno gzip", ("UpstreamCut", 200, b"", False)),
    (HEAD + b"Content-Encoding: br\r\n\r\n", ("UpstreamNonsense", 200, b"", False)),
    (HEAD + b"Content-Length: 6\r\n\r\nhello", ("UpstreamCut", 200, b"hello", False)),
    (CHUNKED + b"5\r\nhello\r\n", ("UpstreamCut", 200, b"hello", False)),
    (CHUNKED + b"5\r\nhello\r\nnonsense\r\n", ("UpstreamCut", 200, b"hello", False)),
    (CHUNKED + b"5\r\nhello\r\n0\r\nX-Trailer: 1\r\n", ("UpstreamCut", 200, b"hello", False)),
    (HEAD, ("UpstreamUnreachable", 0, b"", False)),
    (b"", ("UpstreamUnreachable", 0, b"", False)),
    (b"HTTP/1.1 100 Continue\r\n\r\n", ("UpstreamUnreachable", 0, b"", False)),
    (b"SSH-2.0-x\r\n\r\n", ("UpstreamNonsense", 0, b"", False)),
    (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", ("UpstreamNonsense", 0, b"", False)),
    (b"HTTP/1.1 600 Odd\r\nContent-Length: 0\r\n\r\n", ("UpstreamNonsense", 600, b"", False)),
    (HEAD + b" folded\r\n\r\n", ("UpstreamNonsense", 0, b"", False)),
    (HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n", ("UpstreamNonsense", 0, b"", False)),
    (CHUNKED[:-2] + b"Content-Length: 3\r\n\r\n", ("UpstreamNonsense", 0, b"", False)),
    (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n", ("UpstreamNonsense", 200, b"", False)),
]


@pytest.mark.parametrize(("data", "expected"), ANSWERS)
async def test_an_answer_split_anywhere(data: bytes, expected: Read) -> None:
    """An answer reads the same in one piece, in two that part at any place, and byte by byte."""
    assert await outcome([data] if data else []) == expected
    for place in range(1, len(data)):
        assert await outcome([data[:place], data[place:]]) == expected, place
    assert await outcome([data[place : place + 1] for place in range(len(data))]) == expected


@pytest.mark.parametrize("length", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b""])
async def test_the_answer_to_head_has_no_body(length: bytes) -> None:
    """What HEAD is answered with ends with its head; the connection is not kept."""
    data = HEAD + length + b"\r\n"
    for place in range(1, len(data)):
        assert await outcome([data[:place], data[place:]], head_only=True) == ("", 200, b"", False)


async def test_a_reset_ends_no_answer() -> None:
    """An answer that ends with its connection is whole when the backend closed that, not when it was lost."""
    assert await outcome([HEAD + b"\r\nhello"], reset=True) == ("UpstreamCut", 200, b"hello", False)


@pytest.mark.parametrize(
    ("beginning", "more", "error"),
    [
        (HEAD, b"X-More: " + b"a" * 1000 + b"\r\n", "UpstreamNonsense"),
        (HEAD + b"X-Long: ", b"a" * 1000, "UpstreamNonsense"),
        (b"", b"HTTP/1.1 100 Continue\r\nX-More: a\r\n\r\n" * 20, "UpstreamNonsense"),
        (CHUNKED + b"5\r\nhello\r\n0\r\n", b"X-More: " + b"a" * 1000 + b"\r\n", "UpstreamCut"),
        (CHUNKED + b"5;", b"a" * 1000, "UpstreamCut"),
    ],
)
async def test_what_is_no_body_has_a_bound(beginning: bytes, more: bytes, error: str) -> None:
    """A head, interim answers, a trailer or a chunk's extension without an end are given up."""
    pieces = 2 * MOST_OVERHEAD // len(more)
    assert (await outcome([beginning or more, *[more] * pieces]))[0] == error


async def test_reading_is_paused_and_goes_on() -> None:
    """Past its bound an answer is read no further until what is there was taken, and its connection is kept after."""
    wire, keeper = Wire(), Keeper()
    connection = Connection(Origin("backend", 80, tls=False), keeper)
    connection.connection_made(wire)
    exchange = connection.begin(b"head", b"", head_only=False)
    connection.data_received(HEAD + b"Content-Length: %d\r\n\r\n" % (3 * MOST_HELD))
    paused = []
    for size, taken in ((MOST_HELD, 0), (1, MOST_HELD + 1), (MOST_HELD + 1, 0), (MOST_HELD - 2, 0)):
        connection.data_received(b"x" * size)
        paused.append(wire.paused)
        if taken:
            assert len(await exchange.chunk()) == taken
            paused.append(wire.paused)
    assert paused == [False, True, False, True, False]
    assert keeper.freed == 1
    assert len(await exchange.chunk()) == 2 * MOST_HELD - 1
    assert await exchange.chunk() == b""


async def test_a_request_that_is_still_on_its_way_keeps_no_connection() -> None:
    """A connection whose request has not left when its answer is there is not used for another one."""
    wire, keeper = Wire(), Keeper()
    connection = Connection(Origin("backend", 80, tls=False), keeper)
    connection.connection_made(wire)
    exchange = connection.begin(b"head", b"body", head_only=False)
    wire.unsent = 1
    connection.data_received(HEAD + b"Content-Length: 5\r\n\r\nhello")
    assert (wire.aborted, keeper.freed) == (True, 0)
    assert await exchange.chunk() == b"hello"
    assert await exchange.chunk() == b""


async def test_a_wait_for_a_chunk_may_be_given_up() -> None:
    """A chunk that comes after a wait for it was cancelled is there for the next one."""
    wire = Wire()
    connection = Connection(Origin("backend", 80, tls=False), Keeper())
    connection.connection_made(wire)
    exchange = connection.begin(b"head", b"", head_only=False)
    connection.data_received(CHUNKED)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await exchange.chunk()
    waiting = asyncio.create_task(exchange.chunk())
    await asyncio.sleep(0)
    connection.data_received(b"5\r\nhello\r\n")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await exchange.chunk() == b"hello"
    exchange.close()
    assert wire.aborted


def test_a_closed_connection_takes_no_request() -> None:
    """A request is not given to a connection that was closed meanwhile."""
    connection = Connection(Origin("backend", 80, tls=False), Keeper())
    connection.connection_made(Wire())
    connection.connection_lost(None)
    with pytest.raises(UpstreamUnreachable):
        connection.begin(b"head", b"", head_only=False)


@st.composite
def damaged(draw: st.DrawFn) -> Sequence[bytes]:
    """Draw an answer with bytes put in, taken out and changed, cut into pieces."""
    data = bytearray(draw(st.sampled_from([answer for answer, _ in ANSWERS if answer])))
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(data)))
        data[place : place + draw(st.integers(0, 3))] = draw(st.binary(max_size=4))
    cuts = sorted(draw(st.sets(st.integers(0, len(data)), max_size=6)))
    return [bytes(data[start:end]) for start, end in pairwise([0, *cuts, len(data)]) if end > start]


@settings(max_examples=400, deadline=None)
@given(damaged(), st.booleans())
def test_damaged_answers(pieces: Sequence[bytes], reset: bool) -> None:
    """Whatever a backend sends, its answer ends: whole, or with an UpstreamError."""
    error, status, body, kept = asyncio.run(outcome(pieces, reset=reset))
    if error in {"UpstreamNonsense", "UpstreamUnreachable"}:
        assert (body, kept) == (b"", False)
    else:
        assert 200 <= status <= 599
