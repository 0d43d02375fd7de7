"""The stand-in for Event Hubs as a child process, started again on its port when it dies."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from local.child import Child, NotReady

_RESTART_SECONDS: Final = 0.2
_log: Final = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def running_stand_in(folder: Path, partitions: int) -> AsyncIterator[int]:
    """Run a stand-in on a free port while the block runs; yields the port. Raises NotReady.

    Hubs are made as they are asked for, with so many partitions. Their events lie in the folder and outlive it.
    """
    child = await _start(folder, partitions, 0)
    supervising = asyncio.create_task(_supervise(child, folder, partitions))
    try:
        yield int(child.ready["port"])
    finally:
        supervising.cancel()
        await asyncio.gather(supervising, return_exceptions=True)


async def _supervise(child: Child, folder: Path, partitions: int) -> None:
    port = int(child.ready["port"])
    try:
        while True:
            await child.process.wait()
            _log.warning("the stand-in for Event Hubs died; it is started again")
            await asyncio.sleep(_RESTART_SECONDS)
            try:
                child = await _start(folder, partitions, port)
            except NotReady as error:
                _log.warning("the stand-in for Event Hubs: %s", error)
    finally:
        await child.end()


async def _start(folder: Path, partitions: int, port: int) -> Child:
    options = {"--folder": str(folder), "--port": str(port), "--spare-partitions": str(partitions)}
    return await Child.start("local.eventhubs", *(word for option in options.items() for word in option))
