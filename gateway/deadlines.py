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


class Deadlines:
    """Made for one event loop. The timer runs while a block does."""

    __slots__ = ("_look_at", "_running", "_timer")

    def __init__(self) -> None:
        self._running: dict[Deadline, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._look_at = 0.0

    def within(self, seconds: float) -> "Deadline":
        """Return what to enter at once, in the task that is to end the block within `seconds`."""
        return Deadline(self, asyncio.get_running_loop().time() + seconds)

    def add(self, deadline: "Deadline") -> None:
        self._running[deadline] = None
        if self._timer is None or deadline.due < self._look_at:
            self._set_timer(asyncio.get_running_loop(), deadline.due)

    def drop(self, deadline: "Deadline") -> None:
        self._running.pop(deadline, None)

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
            late.passed()
        if self._running:
            earliest = min(deadline.due for deadline in self._running)
            self._set_timer(loop, min(max(earliest, now + SHORTEST_LOOK), now + LOOK_SECONDS))


class Deadline(Interruption):
    """A block that raises TimeoutError at `due`, in the event loop's time, which the block may move at any moment."""

    __slots__ = ("_deadlines", "due")

    def __init__(self, deadlines: Deadlines, due: float) -> None:
        super().__init__()
        self._deadlines = deadlines
        self.due = due

    def __enter__(self) -> Self:
        self._deadlines.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._deadlines.drop(self)
        if self.ended(kind):
            raise TimeoutError from error

    def passed(self) -> None:
        """Do what is to be done at `due`, once."""
        self.interrupt()
