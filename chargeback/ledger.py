"""The ledger: takes batches of usage events and writes each into its rollup exactly once, however often it comes.

The order inside a batch carries the proof:

1. Events marked `replayed` are dropped where their detail row exists: they were counted under another number. The
   partitions that the others belong to are noted in the index (see `chargeback.partitions`).
2. Dead letters and rollups are written. A rollup's own `last_seq` makes this safe to repeat (see `chargeback.rollups`).
3. Detail rows are upserted. They come after the rollups, so that a detail row means "counted", and a kill in between
   leaves rows that the redelivered batch writes.

A fault of the store ends the batch with TableUnavailable; the trigger delivers it again and nothing is counted twice.
"""

import asyncio
import contextlib
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import batched
from operator import attrgetter
from typing import Final

from chargeback import deadletters, details, rollups
from chargeback.deadletters import EventImpossible
from chargeback.partitions import PartitionIndex
from chargeback.prices import Prices
from chargeback.rollups import Names, Numbered, Rollup
from gateway.usage import UsageEvent
from seams.events import ReceivedEvent
from seams.tables import (
    MAX_OPERATIONS,
    Entity,
    Insert,
    Operation,
    Replace,
    Table,
    TableConflict,
    Tables,
    Upsert,
)

USAGE: Final = "usage"
ROLLUPS: Final = "rollups"
DEADLETTERS: Final = "deadletters"

_MAX_CALLS: Final = 16
_MAX_CACHED: Final = 4096  # about 6 KB each
_MAX_TRIES: Final = 100
_FIRST_PAUSE: Final = 0.005
_LONGEST_PAUSE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Counted:
    """An event that can be billed, and where it stood in the stream."""

    event: UsageEvent
    lane: str
    sequence_number: int


class Ledger:
    """Collects usage events; one object a process, used by any number of batches at once.

    `incarnation` tells the stream from one that was deleted and made again; `detail_rows` keeps the audit trail, and
    with it the check on replayed events; `uniform` draws from [0, 1) for the pauses after conflicts.
    """

    def __init__(
        self,
        tables: Tables,
        prices: Prices,
        incarnation: Callable[[], Awaitable[str]],
        *,
        detail_rows: bool = True,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self._tables = tables
        self._prices = prices
        self._incarnation = incarnation
        self._detail_rows = detail_rows
        self._uniform = uniform
        self._index = PartitionIndex(tables)
        self._calls = asyncio.Semaphore(_MAX_CALLS)
        # Rows as they were last written. A row is taken out while it is worked on and put back after it was written,
        # so neither a failure nor a rival inside this process leaves a stale one.
        self._cache: OrderedDict[Names, tuple[Rollup, str]] = OrderedDict()

    async def collect(self, batch: Sequence[ReceivedEvent]) -> None:
        """Write a batch: events of any partitions; no later batch of a partition before this one has returned.

        What cannot be billed becomes a dead letter and does not disturb the others. Raises TableUnavailable,
        StreamUnavailable, and TableConflict where rivals never let go of a row; the whole batch may then come again.
        """
        incarnation = await self._incarnation()
        counted, dead = _sorted_out(batch, incarnation)
        counted = await self._without_replays(counted)
        await self._note(counted, batch)
        await _all([*self._roll_up(counted), *self._deadletter(dead)])
        if self._detail_rows:
            await _all(self._detail(counted))

    async def _note(self, counted: Iterable[Counted], batch: Iterable[ReceivedEvent]) -> None:
        used = {(one.event.subscription, rollups.day_of(one.event)) for one in counted}
        if used:
            await self._index.note(used, max(received.enqueued_at for received in batch).date())

    async def _without_replays(self, counted: list[Counted]) -> list[Counted]:
        if not self._detail_rows or not any(one.event.replayed for one in counted):
            return counted
        known = await _all([self._is_known(one.event) for one in counted])
        return [one for one, is_known in zip(counted, known, strict=True) if not is_known]

    async def _is_known(self, event: UsageEvent) -> bool:
        if not event.replayed:
            return False
        table = await self._tables.table(USAGE)
        async with self._calls:
            partition = details.detail_partition(event.subscription, rollups.day_of(event))
            return await table.get(partition, details.detail_row(event)) is not None

    def _deadletter(self, dead: Iterable[Entity]) -> list[Awaitable[None]]:
        # One by one: each may be close to a transaction's size by itself.
        return [self._put_aside(entity) for entity in dead]

    async def _put_aside(self, entity: Entity) -> None:
        # A redelivery must not take away what the row has come to say since: that it was requeued.
        with contextlib.suppress(TableConflict):
            await self._transact(DEADLETTERS, [Insert(entity)])

    def _detail(self, counted: Iterable[Counted]) -> list[Awaitable[list[str | None]]]:
        days: dict[tuple[str, date], dict[str, Counted]] = {}
        for one in counted:
            # A producer's duplicate is the same row, and a transaction takes no row twice.
            day = days.setdefault((one.event.subscription, rollups.day_of(one.event)), {})
            day.setdefault(one.event.id, one)
        return [
            self._transact(USAGE, [Upsert(entity) for entity in chunk])
            for names, events in days.items()
            for chunk in batched(_detail_rows(*names, events.values()), MAX_OPERATIONS, strict=False)
        ]

    def _roll_up(self, counted: Iterable[Counted]) -> list[Awaitable[None]]:
        partitions: dict[str, dict[Names, list[Numbered]]] = {}
        groups: dict[Names, list[Numbered]] = {}
        for one in counted:
            names = rollups.names_of(one.event, one.lane, self._prices.context_tier)
            numbered = groups.get(names)
            if numbered is None:
                numbered = groups[names] = partitions.setdefault(names.partition(), {})[names] = []
            numbered.append((one.sequence_number, one.event))
        return [
            self._add(dict(chunk))
            for group in partitions.values()
            for chunk in batched(group.items(), MAX_OPERATIONS, strict=False)
        ]

    async def _add(self, group: Mapping[Names, Sequence[Numbered]]) -> None:
        """Fold events into rollups of one table partition, in one transaction, until no rival was faster."""
        table = await self._tables.table(ROLLUPS)
        for attempt in range(_MAX_TRIES):
            before = dict(zip(group, await _all([self._read(table, names) for names in group]), strict=True))
            after = {names: rollups.fold(before[names][0], numbered) for names, numbered in group.items()}
            changed = [names for names in group if after[names] != before[names][0]]
            try:
                etags = await self._transact(ROLLUPS, [_write(after[names], before[names][1]) for names in changed])
            except TableConflict:
                await asyncio.sleep(self._uniform() * min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**attempt))
                continue
            written = dict(zip(changed, etags, strict=True))
            for names in group:
                self._keep(after[names], written.get(names, before[names][1]))
            return
        raise TableConflict(f"rivals kept changing the rollups for {_MAX_TRIES} tries")

    async def _read(self, table: Table, names: Names) -> tuple[Rollup, str | None]:
        if (cached := self._cache.pop(names, None)) is not None:
            return cached
        async with self._calls:
            entity = await table.get(names.partition(), names.row())
        return (Rollup(names), None) if entity is None else (rollups.from_entity(entity), entity.etag)

    def _keep(self, rollup: Rollup, etag: str | None) -> None:
        if etag is not None:
            self._cache[rollup.names] = rollup, etag
        if len(self._cache) > _MAX_CACHED:
            self._cache.popitem(last=False)

    async def _transact(self, name: str, operations: Sequence[Operation]) -> list[str | None]:
        if not operations:
            return []
        table = await self._tables.table(name)
        async with self._calls:
            return await table.transact(operations)


def _sorted_out(batch: Iterable[ReceivedEvent], incarnation: str) -> tuple[list[Counted], list[Entity]]:
    counted, dead = [], []
    for received in sorted(batch, key=attrgetter("sequence_number")):
        try:
            event = deadletters.parse(received)
        except EventImpossible as error:
            dead.append(deadletters.to_entity(received, incarnation, str(error)))
        else:
            counted.append(Counted(event, f"{incarnation}.{received.partition}", received.sequence_number))
    return counted, dead


def _detail_rows(subscription: str, day: date, counted: Iterable[Counted]) -> list[Entity]:
    partition = details.detail_partition(subscription, day)
    return [details.to_entity(one.event, partition, one.lane, one.sequence_number) for one in counted]


def _write(rollup: Rollup, etag: str | None) -> Operation:
    entity = rollups.to_entity(rollup, etag)
    return Insert(entity) if etag is None else Replace(entity)


async def _all[T](calls: Iterable[Awaitable[T]]) -> list[T]:
    # Every call runs to its end before a failure is raised: none is left behind without an owner.
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]
