"""The ways of a usage event out of this instance, one after the other until one holds.

1. The event hub.
2. The outbox, a table whose rows are published once the hub is back (gateway/publishing/republisher.py).
3. Memory, where both are out, or more wait for a slow hub than should: retried in the background, the outbox first,
   and lost with the instance.
4. One line of the log that holds the event whole. It is counted as lost; that count must read 0.

A breaker each keeps calls from waiting for a hub or a table that is known to be out. Intents go the first way only. A
record that may have been published before goes again marked as replayed, for the ledger to look whether it has it.
"""

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, Literal, NamedTuple

from gateway import usage
from gateway.observer import UNOBSERVED, Observer
from gateway.publishing.outbox import Outbox
from gateway.routing.breaker import Breaker, BreakerRules
from seams.events import EventStream
from seams.tables import TableError

type Kind = Literal["event", "withdrawal", "intent"]

HUB_RULES: Final = BreakerRules(consecutive=3, ratio=0.5, minimum=20, window=30, pause=5, longest_pause=30)
OUTBOX_RULES: Final = BreakerRules(consecutive=1, pause=2, longest_pause=30)
PROBE_SECONDS: Final = 60.0
"""After which a probe that was never heard of again makes room for the next."""

MOST_KEPT: Final = 20_000
"""Events in memory, some 15 MB; beyond it memory is worth more than a hope."""

AGAIN: Final = 500
"""Events from memory in one go."""

PAUSES: Final = (1.0, 30.0)
"""Seconds between tries from memory: the first, and the longest after doubling."""

logger = logging.getLogger(__name__)


class Outgoing(NamedTuple):
    """A record on its way. `since` is the event loop's time at which it was handed over; `done` tells its publisher."""

    body: bytes
    key: str
    kind: Kind
    since: float
    done: asyncio.Future[None] | None = None


@dataclass(frozen=True, slots=True)
class DeliveryState:
    """`failing_for` is seconds since the hub last refused a batch, None where it has taken one since.

    `kept` are in memory now; the others are counts since the start.
    """

    failing_for: float | None
    kept: int
    outboxed: int
    lost: int
    dropped_intents: int


class Delivery:
    def __init__(self, stream: EventStream, outbox: Outbox, observer: Observer = UNOBSERVED) -> None:
        self._stream = stream
        self._outbox = outbox
        self._observer = observer
        self._hub = Breaker(HUB_RULES)
        self._table = Breaker(OUTBOX_RULES)
        self._failed_at: float | None = None
        self._kept: deque[Outgoing] = deque()
        self._recovering: asyncio.Task[None] | None = None
        self._outboxed = self._lost = self._dropped = 0

    def open(self) -> bool:
        """Tell whether the hub is asked at all at the moment."""
        now = asyncio.get_running_loop().time()
        return self._hub.closed_at(now) <= now

    def state(self) -> DeliveryState:
        now = asyncio.get_running_loop().time()
        failing_for = None if self._failed_at is None else now - self._failed_at
        return DeliveryState(failing_for, len(self._kept), self._outboxed, self._lost, self._dropped)

    async def deliver(self, key: str, batch: Sequence[Outgoing]) -> None:
        """Return when every record of the batch, all of one key, is durable, in memory, or given up.

        It takes at most the stream's time-out and the outbox's. Cancelled, it gives up what is not durable.
        """
        ends = [record for record in batch if record.kind != "intent"]
        try:
            if await self._publish(key, batch, [record.body for record in batch]):
                return
            if len(ends) < len(batch):
                self.drop(len(batch) - len(ends))
            if ends and not await self._put(key, ends, [record.body for record in ends]):
                self.keep(ends)
        except asyncio.CancelledError:
            self.lose(ends, "the gateway is stopping")
            raise
        except Exception:
            logger.exception("Publishing usage events failed by an error of ours")
            self.keep(ends)

    def keep(self, records: Iterable[Outgoing], why: str = "neither the event hub nor the outbox takes them") -> None:
        """Hold records in memory, to be delivered in the background."""
        records = list(records)
        room = MOST_KEPT - len(self._kept)
        if records[:room] and not self._kept:
            logger.critical("Usage events wait in memory: %s in time", why)
        self._kept.extend(records[:room])
        self.lose(records[room:], "too many events are in memory")
        if self._kept and self._recovering is None:
            self._recovering = asyncio.create_task(self._recover(), name="kept usage events")

    def drop(self, intents: int) -> None:
        """Count intents that are not published."""
        self._dropped += intents
        self._observer.intents_dropped(intents)

    async def close(self) -> None:
        """Try once more what is in memory; what no store takes now is lost."""
        if self._recovering is not None:
            self._recovering.cancel()
            await asyncio.wait([self._recovering])
        await self._deliver_kept(len(self._kept))
        self.lose(self._kept, "the gateway is stopping")
        self._kept.clear()

    async def _publish(self, key: str, records: Sequence[Outgoing], bodies: Sequence[bytes]) -> bool:
        time = asyncio.get_running_loop().time
        began = time()
        if self._hub.closed_at(began) > began:
            return False
        self._hub.admit(began, PROBE_SECONDS)
        try:
            await self._stream.publish(bodies, key)
        except Exception as error:  # noqa: BLE001 - whatever a stream raises, the outbox is next
            self._refused(error, time(), began)
            return False
        except BaseException:
            self._hub.undecided(began)
            raise
        self._failed_at = None
        if self._hub.succeeded(time(), began):
            logger.warning("The event hub takes usage events again")
        if times := [record.since for record in records if record.kind == "event"]:
            self._observer.published(len(times), time() - min(times))
        return True

    def _refused(self, error: Exception, now: float, began: float) -> None:
        self._failed_at = now
        logger.warning("The event hub took no usage events: %s", error)
        if self._hub.failed(now, began):
            seconds = self._hub.closed_at(now) - now
            logger.error("Usage events go to the outbox: the hub is not asked for %.0f seconds", seconds)

    async def _put(self, key: str, records: Sequence[Outgoing], bodies: Sequence[bytes]) -> bool:
        time = asyncio.get_running_loop().time
        began = time()
        if self._table.closed_at(began) > began:
            return False
        self._table.admit(began, PROBE_SECONDS)
        try:
            await self._outbox.put(key, bodies)
        except (TableError, ValueError) as error:
            self._table.failed(time(), began)
            logger.warning("The outbox took no usage events: %s", error)
            return False
        except BaseException:
            self._table.undecided(began)
            raise
        self._table.succeeded(time(), began)
        events = sum(record.kind == "event" for record in records)
        self._outboxed += events
        self._observer.outboxed(events)
        return True

    async def _recover(self) -> None:
        pause, longest = PAUSES
        try:
            while self._kept:
                await asyncio.sleep(pause)
                pause = PAUSES[0] if await self._deliver_kept(AGAIN) else min(pause * 2, longest)
            logger.warning("No usage event waits in memory any more")
        finally:
            self._recovering = None

    async def _deliver_kept(self, most: int) -> bool:
        """Deliver the oldest in memory; return whether all of these were taken.

        The outbox is asked first: a hub that is only slow would let them wait, and be lost, for its whole time-out.
        """
        by_key: defaultdict[str, list[Outgoing]] = defaultdict(list)
        count = 0
        for record in islice(self._kept, most):
            by_key[record.key].append(record)
            count += 1
        refused: list[Outgoing] = []
        for key, records in by_key.items():
            bodies = [usage.replayed(record.body) for record in records]
            if refused or not (await self._put(key, records, bodies) or await self._publish(key, records, bodies)):
                refused += records
        for _ in range(count):
            self._kept.popleft()
        self._kept.extendleft(reversed(refused))
        return not refused

    def lose(self, records: Iterable[Outgoing], why: str) -> None:
        """Give records up: each but intents goes into the log whole, and is counted."""
        for record in records:
            if record.kind == "intent":
                self.drop(1)
                continue
            logger.critical("Usage event lost (%s): %s", why, record.body.decode())
            self._lost += 1
            self._observer.lost(1)
