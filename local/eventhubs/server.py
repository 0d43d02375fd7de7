"""The stand-in as a server: a port of loopback, its hubs in a folder, its connections."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from local.eventhubs.broker import Broker
from local.eventhubs.connection import Connection
from local.eventhubs.control import METHODS, answer_control
from local.eventhubs.faults import Trouble
from local.eventhubs.hubs import Hubs
from local.eventhubs.wire import Wire
from local.port import listen
from seams.clock import Clock, SystemClock

HOST: Final = "127.0.0.1"
MAX_CONNECTIONS: Final = 500
KEY_NAME: Final = "RootManageSharedAccessKey"
DEFAULT_KEY: Final = "local-stand-in"
_FIRST_BYTES_SECONDS: Final = 20.0
_FIRST_BYTES: Final = 8


def connection_string(port: int, key: str = DEFAULT_KEY) -> str:
    """Return what the SDKs need; the flag at its end makes them speak plain TCP to this port."""
    return (
        f"Endpoint=sb://{HOST}:{port};SharedAccessKeyName={KEY_NAME};SharedAccessKey={key};UseDevelopmentEmulator=true;"
    )


class StandIn:
    """A running stand-in. `broker` holds its hubs, faults and counts."""

    def __init__(
        self,
        hubs: Hubs,
        clock: Clock,
        dice: random.Random,
        *,
        key: str | None,
        die: Callable[[], None] | None,
    ) -> None:
        self.broker: Final = Broker(hubs, Trouble(dice), clock, die=die or self.cut_all, key=key)
        self.port = 0
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @property
    def connection_string(self) -> str:
        return connection_string(self.port, self.broker.key or DEFAULT_KEY)

    async def open(self, port: int) -> None:
        """Listen on a port, any free one for 0. Raises OSError."""
        listener = listen(HOST, port)
        self.port = listener.getsockname()[1]
        self._server = await asyncio.start_server(self._accept, sock=listener)

    def cut_all(self) -> None:
        """End every connection without a word."""
        for writer in self._connections.values():
            writer.transport.abort()

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        tasks = tuple(self._connections)
        self.cut_all()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()
        self.broker.hubs.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._connections) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        self._connections[task] = writer
        self.broker.counts.connections += 1
        try:
            await self._serve(reader, writer)
        finally:
            del self._connections[task]
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_FIRST_BYTES_SECONDS):
                beginning = await reader.readexactly(_FIRST_BYTES)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return
        if beginning.startswith(METHODS):
            await answer_control(self.broker, beginning, reader, writer)
            await writer.wait_closed()
        else:
            await Connection(self.broker, Wire(reader, writer)).serve(beginning)


@asynccontextmanager
async def serve(
    folder: Path,
    hubs: Mapping[str, int],
    *,
    port: int = 0,
    spare_partitions: int | None = None,
    key: str | None = DEFAULT_KEY,
    clock: Clock | None = None,
    dice: random.Random | None = None,
    die: Callable[[], None] | None = None,
) -> AsyncIterator[StandIn]:
    """Serve a folder's hubs, by name with their numbers of partitions, while the block runs.

    With `spare_partitions` hubs of other names are made when they are asked for, with so many partitions. `key` signs
    tokens; None takes any. `die` is how it dies of the fault `deaths`; without it connections are cut.
    Raises ValueError for a hub that cannot be, sqlite3.Error, OSError.
    """
    clock = clock or SystemClock()
    opened = Hubs(folder, clock, spare_partitions)
    stand_in = StandIn(opened, clock, dice or random.Random(), key=key, die=die)  # noqa: S311 - faults, not secrets
    try:
        for name, partitions in hubs.items():
            opened.open(name, partitions)
        await stand_in.open(port)
        yield stand_in
    finally:
        await stand_in.close()
