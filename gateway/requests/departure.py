"""Notices that a caller hangs up while its request's own task is busy elsewhere."""

import asyncio
from types import TracebackType
from typing import Final

from gateway.deadlines import Deadline, Deadlines
from gateway.errors import CallerLeft
from gateway.requests.bodies import Receive

UNWATCHED_SECONDS: Final = 0.05
"""A call that has its answer so soon is not watched: that takes a task, a tenth of what the call costs here."""


class DepartureWatch(Deadline):
    """`with DepartureWatch(receive, deadlines)`: the block is cancelled when the caller leaves, and raises CallerLeft.

    The whole body must have been received before. `due` is when the watch begins.
    """

    __slots__ = ("_receive", "_watch")

    def __init__(self, receive: Receive, deadlines: Deadlines) -> None:
        super().__init__(deadlines, asyncio.get_running_loop().time() + UNWATCHED_SECONDS)
        self._receive = receive
        self._watch: asyncio.Task[None] | None = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        if self.ended(kind):
            raise CallerLeft from error

    def passed(self) -> None:
        self._watch = asyncio.get_running_loop().create_task(self._wait())

    def stop(self) -> None:
        """Stop watching: from here on a server reports the end of the answer just as it reports a departure."""
        self._deadlines.drop(self)
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if self._watch is not None:
            self._watch = None
            self.interrupt()
