"""The state folder's hubs as what triggers read."""

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path

from local.events.event_log import StoredEvent
from local.events.event_source import LocalSource
from local.events.events import LocalStream

PARTITION = "1"
KEY = "key"
"""A key of that partition."""


async def test_what_comes_soon_after_a_batch_is_one_batch(tmp_path: Path) -> None:
    """The first event is handed over at once, and those that come while others gather are handed over together."""
    stream = LocalStream(tmp_path / "hub.sqlite")
    batches: asyncio.Queue[list[bytes]] = asyncio.Queue(10)

    async def take(events: Sequence[StoredEvent]) -> None:
        await batches.put([event.body for event in events])

    following = asyncio.create_task(LocalSource(stream, 1.0).follow(PARTITION, "$Default", 3, take))
    try:
        async with asyncio.timeout(20):
            await stream.publish([b"1"], KEY)
            assert await batches.get() == [b"1"]
            for body in (b"2", b"3", b"4", b"5"):
                await stream.publish([body], KEY)
            assert [await batches.get(), await batches.get()] == [[b"2", b"3", b"4"], [b"5"]]
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following
        await stream.close()
