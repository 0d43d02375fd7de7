"""What is done when a day is over: it is closed, and rows whose time is over are deleted."""

from collections.abc import Awaitable, Callable

from seams.events import StreamUnavailable
from seams.tables import TableError


class CloseOfDay:
    """`chores` are done one after the other."""

    def __init__(self, *chores: Callable[[], Awaitable[object]]) -> None:
        self._chores = chores

    async def run(self) -> None:
        """Do each as far as it comes within its bounds, also where one before it failed.

        Raises what the first of those raised that failed: TableError or StreamUnavailable. The next run takes up what
        was left.
        """
        failed: list[TableError | StreamUnavailable] = []
        for chore in self._chores:
            try:
                await chore()
            except (TableError, StreamUnavailable) as error:
                failed.append(error)
        if failed:
            raise failed[0]
