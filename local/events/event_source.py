"""What Event Hub triggers read: a hub's partitions, batch by batch, with a checkpoint behind each."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Never, Protocol

from local.events.event_log import StoredEvent
from local.events.events import LocalStream

type Take = Callable[[Sequence[StoredEvent]], Awaitable[None]]
"""Take a batch, which is never empty; the checkpoint moves behind it when this returns."""

GATHER_SECONDS: Final = 0.05
"""Between batches that are not full. A hub on the network takes as long; at once, each event would be its own batch."""


class EventSource(Protocol):
    """One hub."""

    async def partitions(self) -> Sequence[str]:
        """Return the ids of the partitions. Raises StreamUnavailable."""
        ...

    async def follow(self, partition: str, group: str, max_batch: int, take: Take) -> Never:
        """Hand over batches in order, from the consumer group's checkpoint on. Raises StreamUnavailable.

        What was not checkpointed comes again when the partition is followed anew.
        """
        ...


class LocalSource:
    """A hub that is a file in the state folder."""

    def __init__(self, stream: LocalStream, gather_seconds: float = GATHER_SECONDS) -> None:
        self._stream = stream
        self._gather_seconds = gather_seconds

    async def partitions(self) -> Sequence[str]:
        """See EventSource."""
        return self._stream.partitions

    async def follow(self, partition: str, group: str, max_batch: int, take: Take) -> Never:
        """See EventSource."""
        position = await self._stream.checkpoint(group, partition)
        while True:
            events = await self._stream.next_events(partition, position, max_batch)
            await take(events)
            position = events[-1].sequence
            await self._stream.save_checkpoint(group, partition, position)
            if len(events) < max_batch:
                await asyncio.sleep(self._gather_seconds)
