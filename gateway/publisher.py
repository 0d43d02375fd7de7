"""Usage events on their way out: durable before a call is done, and never in the caller's way.

Records of one partition key gather for a moment and share one acknowledgement. While one batch of a key is under way
the next one gathers, so a slow stream makes larger batches, and a key's records stay in order.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from gateway import usage
from gateway.delivery import Delivery, Outgoing
from gateway.usage import UsageEvent

GATHER_SECONDS: Final = 0.002
MOST_IN_A_BATCH: Final = 500
"""So that the outbox takes a batch in a few transactions, should the stream refuse it."""

MOST_WAITING: Final = 2 * MOST_IN_A_BATCH
"""Records of one key; beyond it they wait in the delivery's memory, which has a bound of its own."""


@dataclass(slots=True)
class _Lane:
    """What waits under one partition key, and the task that sends it."""

    key: str
    waiting: list[Outgoing] = field(default_factory=list)
    sender: asyncio.Task[None] | None = None


class UsagePublisher:
    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self._lanes: dict[str, _Lane] = {}
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """The records that wait for their batch."""
        return self._waiting

    async def publish(self, event: UsageEvent) -> None:
        """Return when the event is durable, kept in memory because no store takes it, or counted as lost.

        Cancelling it does not take it back. It waits for three batches of its key at most, see `Delivery.deliver`.
        """
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        record = Outgoing(usage.encode(event), event.subscription, "event", loop.time(), done)
        if self._take(record):
            await done
        else:
            self._delivery.keep([record])

    async def close(self) -> None:
        """Wait until everything that was taken is durable or lost."""
        # Not awaited themselves: a time-out around close would cancel them, and the events with them.
        while senders := [lane.sender for lane in self._lanes.values() if lane.sender is not None]:
            await asyncio.wait(senders)
        await self._delivery.close()

    def _take(self, record: Outgoing) -> bool:
        """Put a record into its lane; return whether there was room."""
        lane = self._lanes.get(record.key)
        if lane is None:
            lane = self._lanes[record.key] = _Lane(record.key)
        if len(lane.waiting) >= MOST_WAITING:
            return False
        lane.waiting.append(record)
        self._waiting += 1
        if lane.sender is None:
            lane.sender = asyncio.create_task(self._send_all(lane))
        return True

    async def _send_all(self, lane: _Lane) -> None:
        try:
            await asyncio.sleep(GATHER_SECONDS)
            while lane.waiting:
                await self._send(lane)
        finally:
            del self._lanes[lane.key]
            if lane.waiting:
                # Only a stop ends the task early.
                self._waiting -= len(lane.waiting)
                self._delivery.lose(lane.waiting, "the gateway is stopping")
                _settle(lane.waiting)

    async def _send(self, lane: _Lane) -> None:
        batch, lane.waiting = lane.waiting[:MOST_IN_A_BATCH], lane.waiting[MOST_IN_A_BATCH:]
        self._waiting -= len(batch)
        try:
            await self._delivery.deliver(lane.key, batch)
        finally:
            _settle(batch)


def _settle(batch: Iterable[Outgoing]) -> None:
    for record in batch:
        # A publisher that was cancelled has cancelled its future.
        if record.done is not None and not record.done.done():
            record.done.set_result(None)
