"""What ends a block of a task from outside it: a time-out, a caller who leaves."""

import asyncio


class Interruption:
    """Made in the task as the block begins. Cancels like asyncio.timeout, and tells its cancellation from others."""

    __slots__ = ("_earlier", "_interrupted", "_task")

    def __init__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("only a task's block can be interrupted")
        self._task = task
        self._earlier = task.cancelling()
        self._interrupted = False

    def interrupt(self) -> None:
        self._interrupted = True
        self._task.cancel()

    def ended(self, kind: type[BaseException] | None) -> bool:
        """Tell, once, where the block ends with this kind of error, whether the interruption alone is its cause."""
        if not self._interrupted or self._task.uncancel() > self._earlier or kind is None:
            return False
        return issubclass(kind, asyncio.CancelledError)
