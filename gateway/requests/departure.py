"""Notices that a caller hangs up while its request's own task is busy elsewhere."""

import asyncio
from types import TracebackType
from typing import Self

from gateway.errors import CallerLeft
from gateway.interruption import Interruption
from gateway.requests.bodies import Receive


class DepartureWatch(Interruption):
    """`with DepartureWatch(receive)`: the block is cancelled when the caller leaves, and raises CallerLeft.

    The whole body must have been received before.
    """

    __slots__ = ("_receive", "_watch")

    def __init__(self, receive: Receive) -> None:
        super().__init__()
        self._receive = receive
        self._watch: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        self._watch = asyncio.get_running_loop().create_task(self._wait())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        if self.ended(kind):
            raise CallerLeft from error

    def stop(self) -> None:
        """Stop watching: from here on a server reports the end of the answer just as it reports a departure."""
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if self._watch is not None:
            self._watch = None
            self.interrupt()
