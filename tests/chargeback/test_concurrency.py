"""Nobody keeps the event loop to themselves."""

import asyncio
from itertools import pairwise

from chargeback.concurrency import Turns


async def test_others_come_between_two_turns() -> None:
    """Of tasks that are ready at once each computes in a turn of its own, and what else is ready goes in between."""
    turns, done = Turns(), []

    async def compute(name: str) -> None:
        await turns.take()
        done.append(name)

    async def other() -> None:
        while len(done) < 8:
            await asyncio.sleep(0)
            done.append("other")

    await asyncio.gather(compute("a"), compute("b"), compute("c"), other())

    places = [done.index(name) for name in "abc"]
    assert all("other" in done[first:then] for first, then in pairwise(places))
