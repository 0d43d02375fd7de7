"""Usage events on their way out: durable before a call is done, and never in the caller's way.

Records of one partition key gather for a moment and share one acknowledgement. While one batch of a key is under way
the next one gathers, so a slow stream makes larger batches, and a key's records stay in order.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final
from zlib import crc32

from gateway import usage
from gateway.publishing.delivery import Delivery, Kind, Outgoing
from gateway.usage import Intent, Record, UsageEvent, Withdrawal

GATHER_SECONDS: Final = 0.002
GATHER_INTENTS_SECONDS: Final = 0.02
"""Nobody waits for intents. An instance that is killed so soon after it began a call leaves no trace of it."""

MOST_IN_A_BATCH: Final = 500
"""So that the outbox takes a batch in a few transactions, should the stream refuse it."""

MOST_WAITING: Final = 2 * MOST_IN_A_BATCH
"""Records of one key; beyond it they wait in the delivery's memory, which has a bound of its own."""

MOST_BEFORE_INTENTS: Final = MOST_IN_A_BATCH
"""Records of one key, beyond which intents are dropped."""


@dataclass(slots=True)
class _Lane:
    """What waits under one partition key, when it is sent, and the task that sends it."""

    key: str
    waiting: list[Outgoing] = field(default_factory=list)
    due: float = 0.0
    timer: asyncio.Handle | None = None
    sender: asyncio.Task[None] | None = None


class UsagePublisher:
    """`intents` says whether calls are announced at all, `keys` over how many partition keys a subscription is spread.

    All records of a call have one key, so that they are read in order.
    """

    def __init__(self, delivery: Delivery, *, intents: bool = True, keys: int = 1) -> None:
        self._delivery = delivery
        self._intents = intents
        self._keys = keys
        self._lanes: dict[str, _Lane] = {}
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """The records that wait for their batch."""
        return self._waiting

    @property
    def announces(self) -> bool:
        """Whether an intent has a chance to be published now."""
        return self._intents and self._delivery.open()

    def announce(self, intent: Intent) -> bool:
        """Hand an intent over; return whether it is on its way. It may still be dropped, if the hub refuses it."""
        now, key = asyncio.get_running_loop().time(), self._key(intent)
        lane = self._lanes.get(key)
        if lane is not None and len(lane.waiting) >= MOST_BEFORE_INTENTS:
            self._delivery.drop(1)
            return False
        return self._take(Outgoing(usage.encode(intent), key, "intent", now), GATHER_INTENTS_SECONDS)

    async def publish(self, record: UsageEvent | Withdrawal) -> None:
        """Return when the record is durable, kept in memory because no store takes it, or counted as lost.

        Cancelling it does not take it back. It waits for three batches of its key at most, see `Delivery.deliver`.
        """
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        kind: Kind = "event" if isinstance(record, UsageEvent) else "withdrawal"
        outgoing = Outgoing(usage.encode(record), self._key(record), kind, loop.time(), done)
        if self._take(outgoing, GATHER_SECONDS):
            await done
        else:
            self._delivery.keep([outgoing], "the event hub does not take them")

    async def close(self) -> None:
        """Wait until everything that was taken is durable or lost."""
        for lane in self._lanes.values():
            if lane.timer is not None:
                lane.timer.cancel()
                self._begin(lane)
        # Not awaited themselves: a time-out around close would cancel them, and the events with them.
        while senders := [lane.sender for lane in self._lanes.values() if lane.sender is not None]:
            await asyncio.wait(senders)
        await self._delivery.close()

    def _key(self, record: Record) -> str:
        if self._keys == 1:
            return record.subscription
        call = record.parent if isinstance(record, UsageEvent) and record.parent else record.id
        return f"{record.subscription}#{crc32(call.encode()) % self._keys}"

    def _take(self, record: Outgoing, gather: float) -> bool:
        """Put a record into its lane, which is sent within `gather` seconds; return whether there was room."""
        lane = self._lanes.get(record.key)
        if lane is None:
            lane = self._lanes[record.key] = _Lane(record.key)
        if len(lane.waiting) >= MOST_WAITING:
            return False
        lane.waiting.append(record)
        self._waiting += 1
        if lane.sender is None:
            self._schedule(lane, record.since + gather)
        return True

    def _schedule(self, lane: _Lane, due: float) -> None:
        if lane.timer is not None:
            if lane.due <= due:
                return
            lane.timer.cancel()
        lane.due = due
        lane.timer = asyncio.get_running_loop().call_at(due, self._begin, lane)

    def _begin(self, lane: _Lane) -> None:
        lane.timer = None
        lane.sender = asyncio.create_task(self._send_all(lane))

    async def _send_all(self, lane: _Lane) -> None:
        try:
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
