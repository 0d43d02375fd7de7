"""Connections between two requests: the one used last goes first, so that those not needed grow old and are closed."""

import asyncio
import contextlib
from typing import Final

from gateway.upstream.connection import Connection
from gateway.upstream.origin import Origin

IDLE_SECONDS: Final = 50.0
"""Less than the minute after which backends begin to drop what is idle."""

SWEEP_SECONDS: Final = 5.0

CLOSE_SECONDS: Final = 1.0
"""The most time that closing takes; it is a turn of the loop."""


class KeptConnections:
    """All connections of an upstream, in use or not."""

    def __init__(self) -> None:
        self._idle: dict[Origin, dict[Connection, None]] = {}
        self._all: set[Connection] = set()
        self._sweeping: asyncio.TimerHandle | None = None
        self._closed = False
        self._none_left = asyncio.Event()

    def take(self, origin: Origin) -> Connection | None:
        """Return an idle connection, for this one request; None where a new one has to be made."""
        idle = self._idle.get(origin)
        while idle:
            connection, _ = idle.popitem()
            if connection.usable and asyncio.get_running_loop().time() - connection.idle_since < IDLE_SECONDS:
                return connection
            connection.abort()
        return None

    def add(self, connection: Connection) -> None:
        """Take a new connection, which is in use."""
        if self._closed:
            connection.abort()
        elif connection.usable:
            self._all.add(connection)

    def free(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        self._idle.setdefault(connection.origin, {})[connection] = None
        if self._sweeping is None:
            self._sweeping = loop.call_later(SWEEP_SECONDS, self._sweep)

    def gone(self, connection: Connection) -> None:
        self._all.discard(connection)
        if idle := self._idle.get(connection.origin):
            idle.pop(connection, None)
        if not self._all:
            self._none_left.set()

    async def close(self) -> None:
        """Close all connections; what is under way on them fails."""
        self._closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
        self._idle.clear()
        if not self._all:
            return
        self._none_left.clear()
        for connection in list(self._all):
            connection.abort()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._none_left.wait()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweeping = None
        oldest = loop.time() - IDLE_SECONDS
        for origin, idle in list(self._idle.items()):
            for connection in [each for each in idle if each.idle_since <= oldest]:
                del idle[connection]
                connection.abort()
            if not idle:
                del self._idle[origin]
        if self._idle:
            self._sweeping = loop.call_later(SWEEP_SECONDS, self._sweep)
