"""An Azure OpenAI look-alike that costs as little as Python allows: `python -m bench.upstream`, stops at end of stdin.

It serves two free ports of loopback, so that a pool has two backends, and prints them on one line. It reads requests
with a content-length only and answers from prepared bytes: JSON of 1.5 kB, 50 chunks of 300 bytes as fast as they can
be written one by one, or 15 chunks at 50 ms for a paced stream, the first at once. Not a server for anything else.
"""

import asyncio
import json
import re
import sys
from collections.abc import Iterator
from typing import Final, cast

import uvloop

from bench.scenarios import CHUNK_BYTES, CHUNKS, PACED_CHUNKS, PACED_GAP_SECONDS, PACED_MARK

HEADERS: Final = (
    b"HTTP/1.1 200 OK\r\nx-ms-region: Sweden Central\r\napim-request-id: 6d3c1c7c-6c0e-4b3a-9c3e-1f0a3f5b7c11\r\n"
    b"x-ratelimit-remaining-requests: 9999\r\nx-ratelimit-remaining-tokens: 999999\r\n"
)
CONTENT_LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
STREAMED: Final = re.compile(rb'"stream": *true')
USAGE: Final = {
    "prompt_tokens": 210,
    "completion_tokens": 180,
    "total_tokens": 390,
    "prompt_tokens_details": {"cached_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0},
}


def answer(body: dict[str, object]) -> dict[str, object]:
    return {"id": "chatcmpl-bench", "created": 1760000000, "model": "gpt-4o-2024-11-20", **body}


def json_answer() -> bytes:
    message = {"role": "assistant", "content": "Renew the lease of the address before noon. " * 25, "refusal": None}
    choices = [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}]
    body = json.dumps(answer({"object": "chat.completion", "choices": choices, "usage": USAGE})).encode()
    return HEADERS + b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def stream_answer(chunks: int) -> list[bytes]:
    """Return what is written one by one: the head with the first chunk, further chunks, the last with the end."""

    def event(choices: list[object], usage: object = None) -> bytes:
        body = answer({"object": "chat.completion.chunk", "choices": choices, "usage": usage})
        return b"data: %b\n\n" % json.dumps(body, separators=(",", ":")).encode()

    def content(text: str) -> bytes:
        return event([{"index": 0, "delta": {"content": text}, "finish_reason": None, "logprobs": None}])

    events = [content("x" * (CHUNK_BYTES - len(content(""))))] * (chunks - 1)
    events.append(event([], USAGE) + b"data: [DONE]\n\n")
    framed = [b"%x\r\n%b\r\n" % (len(each), each) for each in events]
    framed[0] = HEADERS + b"content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n" + framed[0]
    framed[-1] += b"0\r\n\r\n"
    return framed


JSON_ANSWER: Final = json_answer()
STREAM_ANSWER: Final = stream_answer(CHUNKS)
PACED_ANSWER: Final = stream_answer(PACED_CHUNKS)


class LookAlike(asyncio.Protocol):
    """One connection; a request is answered before the next one is read."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._received = self._received + data if self._received else data
        head, end, body = self._received.partition(b"\r\n\r\n")
        length = CONTENT_LENGTH.search(head)
        if end and len(body) >= (int(length[1]) if length else 0):
            self._received = b""
            self.answer(head, body)

    def answer(self, _head: bytes, body: bytes) -> None:
        if not STREAMED.search(body):
            self.write(JSON_ANSWER)
        elif PACED_MARK.encode() in body:
            self._write_paced(iter(PACED_ANSWER))
        else:
            self._write_on(iter(STREAM_ANSWER))

    def write(self, answer: bytes) -> None:
        if self._transport is not None:
            self._transport.write(answer)

    def _write_on(self, chunks: Iterator[bytes]) -> None:
        """Write a chunk per turn of the loop, so that each is a packet of its own and streams take turns."""
        chunk = next(chunks, None)
        if chunk is not None and self._transport is not None:
            self._transport.write(chunk)
            self._loop.call_soon(self._write_on, chunks)

    def _write_paced(self, chunks: Iterator[bytes]) -> None:
        chunk = next(chunks, None)
        if chunk is not None and self._transport is not None:
            self._transport.write(chunk)
            self._loop.call_later(PACED_GAP_SECONDS, self._write_paced, chunks)


async def serve() -> None:
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(lambda: LookAlike(loop), "127.0.0.1", 0, backlog=1024) for _ in range(2)]
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    for server in servers:
        server.close()


if __name__ == "__main__":
    uvloop.run(serve())
