"""A bound for the bodies of all requests that do not go to the gateway, which has bounds of its own.

FastAPI reads and parses a route's body before it finds out who is calling, so anybody could fill memory with one.
"""

import asyncio
from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

LONGEST_BODY: Final = 2 * 1024 * 1024
"""Bytes; routes that read their body themselves allow less, the tickets' for instance 1 MiB."""

BODY_SECONDS: Final = 60.0


def bounded(receive: Receive, limit: int = LONGEST_BODY, seconds: float = BODY_SECONDS) -> Receive:
    """Return a `receive` for one request that raises HTTPException: 413 over `limit` bytes, 408 after `seconds`.

    The time is that of waiting for the body; what comes after it, a departure, may take as long as it will.
    """
    left, patience, over = limit, seconds, False

    async def next_message() -> Message:
        nonlocal left, patience, over
        if over:
            return await receive()
        time = asyncio.get_running_loop().time
        began = time()
        try:
            async with asyncio.timeout(patience):
                message = await receive()
        except TimeoutError as error:
            raise HTTPException(408, f"The request body did not arrive within {seconds:g} seconds.") from error
        patience -= time() - began
        left -= len(message.get("body", b""))
        if left < 0:
            raise HTTPException(413, f"The request body is over the limit of {limit} bytes.")
        over = not message.get("more_body", False)
        return message

    return next_message
