"""Pieces of text as server-sent events (WHATWG HTML, 9.2): one event a piece, `[DONE]` after the last.

A line break inside a piece becomes several `data:` lines, which a reader joins by a line feed again. A piece that
reads `[DONE]` itself goes out in two events, since the end must be the end.
"""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from enrichment.errors import EnrichmentError

DONE = b"data: [DONE]\n\n"


def event(piece: str) -> bytes:
    """Return the bytes that bring one piece of text."""
    if piece == "[DONE]":
        return event(piece[:-1]) + event(piece[-1])
    lines = piece.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "".join([*(f"data: {line}\n" for line in lines), "\n"]).encode("utf-8", "replace")


def error_event(error: EnrichmentError) -> bytes:
    """Return `event: error` with OpenAI's error object; it ends a stream in place of `[DONE]`."""
    return b"event: error\ndata: " + json.dumps(error.body()).encode() + b"\n\n"


async def events(pieces: AsyncGenerator[str]) -> AsyncGenerator[bytes]:
    """Yield an event for each piece as it comes, then `[DONE]`, or an error event where the pieces end in an error."""
    async with aclosing(pieces):
        try:
            async for piece in pieces:
                yield event(piece)
        except EnrichmentError as error:
            yield error_event(error)
        else:
            yield DONE


class PieceResponse(StreamingResponse):
    """The answer whose body is `events(pieces)`. When the caller leaves, the pieces are closed before it returns."""

    media_type = "text/event-stream"

    def __init__(self, pieces: AsyncGenerator[str], request_id: str) -> None:
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        if request_id:
            headers["x-request-id"] = request_id
        self._events = events(pieces)
        super().__init__(self._events, headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Cancelled while it waits for the network, the response would leave its generator to the garbage collector.
        async with aclosing(self._events):
            await super().__call__(scope, receive, send)
