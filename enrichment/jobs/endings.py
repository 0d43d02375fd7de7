"""Several things at once, of which none is left behind when one fails."""

import asyncio
from collections.abc import Awaitable, Sequence


async def all_of[T](calls: Sequence[Awaitable[T]]) -> list[T]:
    """Return the results of all, in order; where some failed, raise the first failure after all have ended."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]
