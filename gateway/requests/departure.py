"""Notices that a caller hangs up while its request's own task is busy elsewhere."""

import asyncio
from types import TracebackType
from typing import Self

from gateway.errors import CallerLeft
from gateway.requests.bodies import Receive


class DepartureWatch:
    """`async with DepartureWatch(receive)`: the block is cancelled when the caller leaves, and raises CallerLeft.

    The whole body must have been received before. Built like asyncio.timeout: it cancels the task that entered it and
    turns that one cancellation into its own exception.
    """

    __slots__ = ("_cancelling", "_left", "_receive", "_task", "_watch")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._left = False

    async def __aenter__(self) -> Self:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("DepartureWatch needs a task")
        self._task = task
        self._cancelling = task.cancelling()
        self._watch: asyncio.Task[None] | None = asyncio.get_running_loop().create_task(self._wait())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        if self._left and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
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
            self._left = True
            self._task.cancel()
