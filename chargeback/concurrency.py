"""Many calls to the store at once, rivals for the same rows, and an event loop that others use, too."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

MAX_CALLS: Final = 16
"""Calls to the store that one collector has under way."""

MAX_TRIES: Final = 100
_FIRST_PAUSE: Final = 0.1  # about as long as a batch takes: whoever was first is done with it then
_LONGEST_PAUSE: Final = 1.0


async def all_of[T](calls: Iterable[Awaitable[T]]) -> list[T]:
    """Return the results in order. Every call runs to its end before a failure is raised: none is left ownerless."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]


class Turns:
    """Lets tasks compute one after the other, with whatever else waits for the event loop in between."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def take(self) -> None:
        """Return when it is one's turn, which lasts until one awaits something else."""
        async with self._turn:
            await asyncio.sleep(0)


async def give_way(attempt: int, uniform: Callable[[], float]) -> None:
    """Pause after a conflict, for up to a second; `attempt` counts from 0, `uniform` draws from [0, 1)."""
    await asyncio.sleep(uniform() * min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**attempt))
