"""Backends that answer with more than memory holds, or with what is no answer: the gateway stays small and goes on."""

import asyncio
import contextlib
import json
import os
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from gateway.answers.streaming import MOST_TEXT, StreamReader
from gateway.answers.texts import TEXT_OF_CHAT
from gateway.metering.tokens import TokenCounter
from tests.gateway.catalogs import KEY, catalog_of
from tests.gateway.running import RunningGateway, run_gateway

type Speak = Callable[[asyncio.StreamWriter], Awaitable[None]]

JSON = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
EVENTS = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
CLOSE = b"connection: close\r\n\r\n"
GZIP = b"content-encoding: gzip\r\n" + CLOSE
MEGABYTE = b" " * 1_000_000
TEN_GIGABYTES = 10_000
GROWTH = 220_000_000
"""Bytes: the most that a whole JSON answer may have, and room for the test's own."""


def bomb(beginning: bytes = b"") -> Iterator[bytes]:
    """Yield the gzip stream of ten gigabytes of spaces: some ten megabytes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    yield packer.compress(beginning + MEGABYTE) + packer.flush(zlib.Z_FULL_FLUSH)
    piece = packer.compress(MEGABYTE) + packer.flush(zlib.Z_FULL_FLUSH)
    for _ in range(TEN_GIGABYTES - 1):
        yield piece


async def gzip_bomb(writer: asyncio.StreamWriter) -> None:
    writer.write(JSON + GZIP)
    for piece in bomb():
        writer.write(piece)
        await writer.drain()


async def gzip_bomb_of_an_event(writer: asyncio.StreamWriter) -> None:
    writer.write(EVENTS + GZIP)
    for piece in bomb(b"data: "):
        writer.write(piece)
        await writer.drain()


async def endless_line(writer: asyncio.StreamWriter) -> None:
    writer.write(EVENTS + CLOSE + b'data: {"choices": "')
    while True:
        writer.write(MEGABYTE)
        await writer.drain()


async def endless_head(writer: asyncio.StreamWriter) -> None:
    writer.write(JSON)
    while True:
        writer.write(b"x-more: " + b"a" * 4_000 + b"\r\n")
        await writer.drain()


async def unknown_encoding(writer: asyncio.StreamWriter) -> None:
    writer.write(JSON + b"content-encoding: br\r\n" + CLOSE + os.urandom(1_000))


async def false_gzip(writer: asyncio.StreamWriter) -> None:
    writer.write(JSON + GZIP + os.urandom(1_000))


async def deep_json(writer: asyncio.StreamWriter) -> None:
    writer.write(JSON + CLOSE + b'{"usage": ' + b'{"prompt_tokens_details":' * 200_000)


def chunk(text: str) -> bytes:
    return b"data: " + json.dumps({"choices": [{"delta": {"content": text}}]}).encode() + b"\n\n"


async def million_events(writer: asyncio.StreamWriter) -> None:
    writer.write(EVENTS + CLOSE)
    for _ in range(1_000):
        writer.write(b"data:{}\n\n" * 1_000)
        await writer.drain()
    writer.write(chunk("done") + b"data: [DONE]\n\n")


async def endless_text(writer: asyncio.StreamWriter) -> None:
    writer.write(EVENTS + CLOSE)
    block = b"".join(chunk(f"{number} words ") for number in range(10_000))
    while True:
        writer.write(block)
        await writer.drain()


def memory() -> int:
    """Return this process's resident memory in bytes; the gateway runs in it."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextlib.asynccontextmanager
async def behind(speak: Speak, counter: TokenCounter) -> AsyncIterator[RunningGateway]:
    """Yield a gateway whose one backend speaks so."""

    async def backend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            await speak(writer)
            await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(backend, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        catalog = catalog_of({}, backends={"hostile": {"endpoint": f"http://127.0.0.1:{port}", "auth": AUTH}})
        for deployment in catalog["deployments"].values():
            deployment["pool"] = [{"backend": "hostile"}]
        async with run_gateway({}, counter, catalog=catalog) as gateway:
            yield gateway


AUTH = {"api_key": "setting:UPSTREAM_KEY"}


async def ask(gateway: RunningGateway, *, stream: bool, most: int = 1 << 40) -> tuple[int, bytes, int]:
    """Return status, the end of the body, and the most memory that was seen over what there was at first."""
    body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}], "stream": stream}).encode()
    host, _, port = gateway.url.removeprefix("http://").partition(":")
    before = grown = memory()
    async with asyncio.timeout(60):
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: t\r\napi-key: {KEY}\r\nconnection: close\r\n"
        writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        status = int((await reader.readuntil(b"\r\n\r\n")).split()[1])
        read, tail = 0, b""
        while read < most and (data := await reader.read(1 << 18)):
            read, tail = read + len(data), (tail + data)[-2_000:]
            grown = max(grown, memory())
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    return status, tail, max(grown, memory()) - before


@pytest.mark.parametrize("speak", [gzip_bomb, endless_head, unknown_encoding, false_gzip, deep_json])
async def test_no_answer_is_502(speak: Speak, counter: TokenCounter) -> None:
    """What is too large, no HTTP, not decodable or too deep is a 502 with OpenAI's error object, in bounded memory."""
    async with behind(speak, counter) as gateway:
        status, body, grown = await ask(gateway, stream=False)
    assert (status, b'"bad_gateway"' in body or b'"no_backend_available"' in body) in {(502, True), (503, True)}, body
    assert grown < GROWTH


@pytest.mark.parametrize("speak", [gzip_bomb_of_an_event, endless_line])
async def test_an_event_without_end_breaks_its_stream(speak: Speak, counter: TokenCounter) -> None:
    """An event that grows past what an event may have ends the stream with an error event, in bounded memory."""
    async with behind(speak, counter) as gateway:
        _, body, grown = await ask(gateway, stream=True)
    assert b'"error"' in body
    assert grown < GROWTH


async def test_a_million_tiny_events_pass(counter: TokenCounter) -> None:
    """A stream of a million events arrives whole, in seconds and in bounded memory."""
    async with behind(million_events, counter) as gateway:
        status, body, grown = await ask(gateway, stream=True)
        (event,) = await gateway.settled(1)
    assert status == 200
    assert b"data: [DONE]\n\n" in body
    assert (event.outcome, event.estimated) == ("completed", True)
    assert grown < GROWTH // 4


async def test_text_without_end_does_not_fill_memory(counter: TokenCounter) -> None:
    """Of a stream that never ends no more text is kept than any answer has; what was delivered is charged."""
    async with behind(endless_text, counter) as gateway:
        status, _, grown = await ask(gateway, stream=True, most=60_000_000)
        (event,) = await gateway.settled(1)
    assert status == 200
    assert grown < GROWTH // 4
    assert (event.outcome, event.estimated) == ("client_closed", True)
    assert event.meters.completion_tokens > 100_000


def test_no_more_text_is_kept_than_a_model_says() -> None:
    """Ten megabytes of text pass a reader, which keeps two."""
    reader = StreamReader(hide_usage=False, texts=TEXT_OF_CHAT)
    passed = sum(len(reader.feed(chunk("a" * 100_000))) for _ in range(100))
    assert passed > 10_000_000
    assert MOST_TEXT <= len(reader.delivered_text()["content"]) <= MOST_TEXT + 200_000


def test_the_bomb_is_one() -> None:
    """The compressed stream is what it is called: its first pieces are megabytes when they are unpacked."""
    pieces = bomb()
    packed = next(pieces) + next(pieces)
    assert len(packed) < 5_000
    assert zlib.decompressobj(31).decompress(packed) == MEGABYTE * 2
