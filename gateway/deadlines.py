"""Time-outs of what happens in every call and nearly never takes too long: all of them share one timer.

A timer of its own that is made, moved and cancelled again costs a call as much as its metering, and a stream several
times its chunk.
"""

import asyncio
from types import TracebackType
from typing import Final, Self

from gateway.interruption import Interruption

LOOK_SECONDS: Final = 1.0
"""How late at most it is seen that a deadline was brought forward."""

SHORTEST_LOOK: Final = 0.001
"""Seconds; the resolution of event loops' timers."""


class Deadline(Interruption):
    """A block that raises TimeoutError at `due`, in the event loop's time, which the block may move at any moment."""

    __slots__ = ("_running", "due")

    def __init__(self, running: "dict[Deadline, None]", due: float) -> None:
        super().__init__()
        self._running = running
        self.due = due

    def __enter__(self) -> Self:
        self._running[self] = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._running.pop(self, None)
        if self.ended(kind):
            raise TimeoutError from error


class Deadlines:
    """Made for one event loop. The timer runs while a block does."""

    __slots__ = ("_look_at", "_running", "_timer")

    def __init__(self) -> None:
        self._running: dict[Deadline, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._look_at = 0.0

    def within(self, seconds: float) -> Deadline:
        """Return what to enter at once, in the task that is to end the block within `seconds`."""
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        if self._timer is None or due < self._look_at:
            self._set_timer(loop, due)
        return Deadline(self._running, due)

    def _set_timer(self, loop: asyncio.AbstractEventLoop, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._look_at = at
        self._timer = loop.call_at(at, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        for late in [deadline for deadline in self._running if deadline.due <= now]:
            del self._running[late]
            late.interrupt()
        if self._running:
            earliest = min(deadline.due for deadline in self._running)
            self._set_timer(loop, min(max(earliest, now + SHORTEST_LOOK), now + LOOK_SECONDS))
