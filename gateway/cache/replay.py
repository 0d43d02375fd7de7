"""Gives a kept answer again: the same bytes, with headers that say where they come from."""

from datetime import datetime
from typing import Final

from gateway.answers.relay import Send, own_headers
from gateway.cache.caching import KeptAnswer
from gateway.call import Call

PIECE: Final = 65_536


async def replay(call: Call, kept: KeptAnswer, now: datetime, send: Send) -> None:
    """Send the answer whole; `age` is in seconds (RFC 9111, 5.1), `x-gateway-backend` who gave it the first time."""
    age = max(0, int((now - kept.kept_at).total_seconds()))
    headers = [
        (b"content-type", kept.content_type),
        (b"age", str(age).encode()),
        (b"x-gateway-backend", kept.backend.encode()),
        *own_headers(call),
    ]
    if not kept.streamed:
        headers.append((b"content-length", str(len(kept.body)).encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for start in range(0, len(kept.body), PIECE):
        piece = kept.body[start : start + PIECE]
        await send({"type": "http.response.body", "body": piece, "more_body": start + PIECE < len(kept.body)})
