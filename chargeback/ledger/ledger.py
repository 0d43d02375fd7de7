"""The ledger: takes batches of usage records and writes each event into its rollup once, however often it comes.

The order inside a batch carries the proof:

1. The lane's head is read, unless this process wrote it last. What it holds, all other books hold: numbers up to its
   `last_seq` are passed over, so redelivery costs next to nothing.
2. Events marked `replayed` are looked for: where their detail row exists they were counted under another number. The
   partitions that the others belong to are noted in the index (see `chargeback.closing.partitions`).
3. Dead letters and rollups are written. A rollup's own `last_seq` makes this safe to repeat (see
   `chargeback.ledger.rollups`).
4. Detail rows are upserted. They come after the rollups, so that a detail row means "counted", and a kill in between
   leaves rows that the redelivered batch writes.
5. The lane journal is written, its head with it (see `chargeback.lanes.lane_journal`).

A fault of the store ends the batch with TableUnavailable; the trigger delivers it again and nothing is counted twice.
All of it is computed in slices, with whatever else waits for the event loop in between: calls of the gateway.

Where a rival is at the same batch, one of the two meets a conflict, waits a moment and begins again: by then the other
has mostly done it all.
"""

import asyncio
import contextlib
import logging
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import batched
from operator import attrgetter
from typing import Final

from chargeback.closing.partitions import PartitionIndex
from chargeback.concurrency import MAX_CALLS, MAX_TRIES, Turns, all_of, give_way
from chargeback.deadletters import deadletters
from chargeback.deadletters.deadletters import DEADLETTERS, EventImpossible
from chargeback.lanes.incarnations import Incarnations
from chargeback.lanes.lane_journal import Entry, LaneJournal
from chargeback.lanes.lanes import Lane
from chargeback.lanes.progress import Arrival
from chargeback.ledger import details, rollups
from chargeback.ledger.details import RETENTION, USAGE
from chargeback.ledger.rollup_store import RollupStore
from chargeback.ledger.rollups import Names, Numbered
from chargeback.orphans.orphans import Orphans
from chargeback.prices import Prices
from gateway.usage import UsageEvent
from seams.clock import Clock, SystemClock
from seams.events import ReceivedEvent
from seams.tables import Entity, Insert, TableConflict, Tables, Upsert, transactions

ORPHAN_AFTER: Final = timedelta(hours=1)

DETAILS_AT_ONCE: Final = 25
"""Detail rows in a transaction: the storage SDK computes 0.4 ms on each, and requests to the gateway wait meanwhile."""

_RECORDS_AT_ONCE: Final = 100
"""Records that are parsed before others may use the event loop."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Counted:
    """An event that can be billed, and where it stood in the stream."""

    event: UsageEvent
    lane: str
    sequence_number: int


class Ledger:
    """Collects usage records; one object a process, used by any number of batches at once.

    `incarnation` asks the stream what tells it from one that was deleted and made again. `detail_rows` keeps the audit
    trail, and with it the check on replayed events, for as long as `retention` says. `orphan_after` is how long a call
    may go without its event, see `chargeback.orphans.sweep`. `uniform` draws from [0, 1) for the pauses after
    conflicts.
    """

    def __init__(
        self,
        tables: Tables,
        prices: Prices,
        incarnation: Callable[[], Awaitable[str]],
        *,
        detail_rows: bool = True,
        retention: timedelta = RETENTION,
        orphan_after: timedelta = ORPHAN_AFTER,
        clock: Clock | None = None,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self._tables = tables
        self._prices = prices
        self._incarnations = Incarnations(incarnation)
        self._detail_rows = detail_rows
        self._retention = retention
        self._index = PartitionIndex(tables)
        self._rollups = RollupStore(tables)
        self._journal = LaneJournal(tables, Orphans(tables), clock or SystemClock(), orphan_after=orphan_after)
        self._uniform = uniform
        self._calls = asyncio.Semaphore(MAX_CALLS)
        self._turns = Turns()

    async def collect(self, batch: Sequence[ReceivedEvent]) -> None:
        """Write a batch: records of any partitions; no later batch of a partition before this one has returned.

        What cannot be billed becomes a dead letter and does not disturb the others. Raises TableUnavailable,
        StreamUnavailable, and TableConflict where rivals never let go of a row; the whole batch may then come again.
        """
        lanes = _by_lane(batch, await self._incarnations.of(batch))
        for attempt in range(MAX_TRIES):
            try:
                return await self._collect(lanes)
            except TableConflict:
                await give_way(attempt, self._uniform)
        raise TableConflict(f"rivals kept changing the rows of a batch for {MAX_TRIES} tries")

    async def _collect(self, lanes: Mapping[Lane, Sequence[ReceivedEvent]]) -> None:
        entries = await all_of([self._journal.begin(lane, _day(came[0])) for lane, came in lanes.items()])
        content = await _sorted_out(zip(entries, lanes.values(), strict=True), self._retention)
        known = await self._replays(content.counted)
        fresh = [one for one in content.counted if one.sequence_number not in known.get(one.lane, rollups.NONE)]
        await self._note(fresh, max((_day(came[-1]) for came in lanes.values()), default=date.max))
        groups = self._by_rollup(content.counted)
        await all_of([*self._rollups.add(groups, known), *map(self._put_aside, content.dead)])
        if self._detail_rows:
            await all_of(self._detail(fresh))
        await all_of([self._journal.enter(entry, arrivals) for entry, arrivals in content.entries])
        if content.dead:
            first = content.dead[0]
            logger.warning(
                "%d records cannot be billed, see dead letter %s: %s",
                len(content.dead),
                first.row,
                first.values["reason"],
            )

    async def _replays(self, counted: Iterable[Counted]) -> Mapping[str, AbstractSet[int]]:
        """Return, by lane, the numbers of replayed events that were counted under another one."""
        replayed = [one for one in counted if one.event.replayed] if self._detail_rows else []
        known: defaultdict[str, set[int]] = defaultdict(set)
        for one, is_known in zip(replayed, await all_of([self._is_known(one.event) for one in replayed]), strict=True):
            if is_known:
                known[one.lane].add(one.sequence_number)
        return known

    async def _is_known(self, event: UsageEvent) -> bool:
        table = await self._tables.table(USAGE)
        async with self._calls:
            partition = details.detail_partition(event.subscription, rollups.day_of(event))
            return await table.get(partition, details.detail_row(event.id)) is not None

    async def _note(self, counted: Iterable[Counted], today: date) -> None:
        await self._index.note({(one.event.subscription, rollups.day_of(one.event)) for one in counted}, today)

    def _by_rollup(self, counted: Iterable[Counted]) -> Mapping[Names, Sequence[Numbered]]:
        groups: defaultdict[Names, list[Numbered]] = defaultdict(list)
        for one in counted:
            names = rollups.names_of(one.event, one.lane, self._prices.context_tier)
            groups[names].append((one.sequence_number, one.event))
        return groups

    async def _put_aside(self, entity: Entity) -> None:
        table = await self._tables.table(DEADLETTERS)
        # One by one, since each may be close to a transaction's size by itself. A redelivery must not take away what
        # the row has come to say since: that it was requeued.
        with contextlib.suppress(TableConflict):
            async with self._calls:
                await table.transact([Insert(entity)])

    def _detail(self, counted: Iterable[Counted]) -> list[Awaitable[None]]:
        days: dict[tuple[str, date], dict[str, Counted]] = {}
        for one in counted:
            # A producer's duplicate is the same row, and a transaction takes no row twice.
            day = days.setdefault((one.event.subscription, rollups.day_of(one.event)), {})
            day.setdefault(one.event.id, one)
        return [
            self._write_details(details.detail_partition(*names), some)
            for names, events in days.items()
            for some in batched(events.values(), DETAILS_AT_ONCE, strict=False)
        ]

    async def _write_details(self, partition: str, counted: Iterable[Counted]) -> None:
        table = await self._tables.table(USAGE)
        async with self._calls:
            await self._turns.take()
            rows = [details.to_entity(one.event, partition, one.lane, one.sequence_number) for one in counted]
            for some in transactions(map(Upsert, rows)):
                await table.transact(some)


@dataclass(frozen=True, slots=True)
class _Content:
    """What is new in a batch: all of it by lane in the order of its numbers, what can be billed, what can never be."""

    entries: list[tuple[Entry, list[Arrival]]] = field(default_factory=list)
    counted: list[Counted] = field(default_factory=list)
    dead: list[Entity] = field(default_factory=list)


def _by_lane(batch: Iterable[ReceivedEvent], incarnation: str) -> Mapping[Lane, Sequence[ReceivedEvent]]:
    """Return each lane's events in the order of their numbers."""
    lanes: defaultdict[Lane, list[ReceivedEvent]] = defaultdict(list)
    for received in sorted(batch, key=attrgetter("sequence_number")):
        lanes[Lane(incarnation, received.partition)].append(received)
    return lanes


async def _sorted_out(lanes: Iterable[tuple[Entry, Sequence[ReceivedEvent]]], retention: timedelta) -> _Content:
    content = _Content()
    for entry, came in lanes:
        lane, arrivals = entry.lane.name, list[Arrival]()
        fresh = [received for received in came if received.sequence_number > entry.last_seq]
        for place, received in enumerate(fresh):
            number = received.sequence_number
            if place % _RECORDS_AT_ONCE == 0:
                await asyncio.sleep(0)
            try:
                record = deadletters.parse(received, retention)
            except EventImpossible as error:
                record = None
                content.dead.append(deadletters.to_entity(received, entry.lane.incarnation, str(error)))
            if isinstance(record, UsageEvent):
                content.counted.append(Counted(record, lane, number))
            arrivals.append(Arrival(number, received.enqueued_at, record))
        content.entries.append((entry, arrivals))
    return content


def _day(received: ReceivedEvent) -> date:
    return received.enqueued_at.date()
