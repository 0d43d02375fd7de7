"""One TCP connection as frames: bounds on what comes, heartbeats, and an end for peers that fall silent."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from local.eventhubs.frames import (
    AMQP_FRAME,
    HEAD_BYTES,
    HEARTBEAT,
    MAX_FRAME_BYTES,
    MIN_FRAME_BYTES,
    Head,
    frame,
    head_of,
)

IDLE_SECONDS: Final = 240.0
"""Event Hubs announces four minutes; a peer that says nothing for so long is gone (2.4.5)."""

_LONGEST_BEAT_SECONDS: Final = 30.0


class Wire:
    """Writes never wait; whoever produces much awaits `drain`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._sent_at = asyncio.get_running_loop().time()
        self.max_frame = MAX_FRAME_BYTES

    def accept_frames(self, max_frame: int | None) -> None:
        """Note the size of frames that the peer takes."""
        self.max_frame = max(MIN_FRAME_BYTES, min(max_frame or MAX_FRAME_BYTES, MAX_FRAME_BYTES))

    async def read_header(self) -> bytes:
        async with asyncio.timeout(IDLE_SECONDS):
            return await self._reader.readexactly(HEAD_BYTES)

    async def read_body(self, head: Head) -> bytes:
        """Return a frame's body. Raises TimeoutError, IncompleteReadError and ConnectionError."""
        async with asyncio.timeout(IDLE_SECONDS):
            raw = await self._reader.readexactly(head.size - HEAD_BYTES)
        return raw[head.body_at - HEAD_BYTES :]

    async def read_frame(self) -> tuple[Head, bytes]:
        """Return the next frame that is no heartbeat. Raises Violation, and as `read_body`."""
        while True:
            head = head_of(await self.read_header())
            if body := await self.read_body(head):
                return head, body

    def send(self, raw: bytes) -> None:
        if not self._writer.is_closing():
            self._sent_at = asyncio.get_running_loop().time()
            self._writer.write(raw)

    def send_frame(self, channel: int, body: bytes, kind: int = AMQP_FRAME) -> None:
        self.send(frame(channel, body, kind))

    async def drain(self) -> None:
        """Wait until the peer has read most of what was sent. Raises TimeoutError and ConnectionError."""
        async with asyncio.timeout(IDLE_SECONDS):
            await self._writer.drain()

    async def beat(self, idle_milliseconds: int | None, allowed: Callable[[], Awaitable[None]]) -> None:
        """Send something in every half of the time after which the peer would give us up, once it is allowed."""
        pause = min((idle_milliseconds or 0) / 2000 or _LONGEST_BEAT_SECONDS, _LONGEST_BEAT_SECONDS)
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(max(0.05, self._sent_at + pause - loop.time()))
            await allowed()
            if loop.time() - self._sent_at >= pause:
                self.send(HEARTBEAT)

    def abort(self) -> None:
        self._writer.transport.abort()

    async def close(self) -> None:
        """Close behind what was sent, in a bounded time."""
        self._writer.close()
        try:
            async with asyncio.timeout(1):
                await self._writer.wait_closed()
        except TimeoutError:
            self.abort()
        except OSError:
            pass
