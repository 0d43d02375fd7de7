"""The books of a day, as the collector left them: the lane journal, the rollups, the detail rows, the dead letters."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from chargeback.closing.partitions import PartitionIndex
from chargeback.columns import as_int
from chargeback.concurrency import MAX_CALLS, all_of
from chargeback.deadletters import deadletters
from chargeback.deadletters.deadletters import DEADLETTERS
from chargeback.lanes import lanes
from chargeback.lanes.lane_journal import known_lanes, read_head
from chargeback.lanes.lanes import LANES, Head, Lane, LaneDay
from chargeback.ledger.details import USAGE, detail_partition
from chargeback.ledger.rollups import ROLLUPS, rollup_partition
from seams.tables import Tables

DAY: Final = timedelta(days=1)
_AFTER_DAYS: Final = "head"

type Share = tuple[str, str]
"""A subscription and a lane's name."""


@dataclass(frozen=True, slots=True)
class LaneBooks:
    """How far a lane was taken, and its days in order; the head was read before them."""

    head: Head
    days: tuple[LaneDay, ...] = ()

    def on(self, day: date) -> LaneDay | None:
        return next((each for each in self.days if each.day == day), None)

    def day_events(self, day: date) -> int:
        """Return how many usage events of this day were received, on whatever day."""
        return sum(each.event_days.get(day, 0) for each in self.days)


@dataclass(frozen=True, slots=True)
class Counts:
    """What is in the tables of a day. `stored` is None where detail rows are not counted."""

    summed: Mapping[Share, int] = field(default_factory=dict)
    duplicates: Mapping[str, int] = field(default_factory=dict)
    stored: Mapping[Share, int] | None = None
    dead: Mapping[str, int] = field(default_factory=dict)


class Books:
    """Reads the collector's tables; every method raises TableUnavailable."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._index = PartitionIndex(tables)
        self._calls = asyncio.Semaphore(MAX_CALLS)

    async def lanes(self, first: date) -> dict[Lane, LaneBooks]:
        """Return every lane with its days since `first`, an enqueue day."""
        known = await known_lanes(self._tables)
        books = await all_of([self._lane(lane, first) for lane in known])
        return dict(zip(known, books, strict=True))

    async def heads(self) -> dict[Lane, Head]:
        """Return how far every lane was taken."""
        known = await known_lanes(self._tables)
        heads = await all_of([read_head(self._tables, lane) for lane in known])
        return {lane: head for lane, head in zip(known, heads, strict=True) if head is not None}

    async def counts(self, day: date, *, details: bool) -> Counts:
        """Count what is in the tables of a day, detail rows only if asked for: there may be millions."""
        summed: Counter[Share] = Counter()
        duplicates: Counter[str] = Counter()
        subscriptions = await self._index.subscriptions(f"{day:%Y-%m}")
        await all_of([self._sum(name, day, summed, duplicates) for name in subscriptions])
        stored = await self._details(day) if details else None
        return Counts(+summed, +duplicates, stored, await self._dead(day))

    async def _lane(self, lane: Lane, first: date) -> LaneBooks:
        async with self._calls:
            head = await read_head(self._tables, lane) or Head()
            table = await self._tables.table(LANES)
            rows = table.query(lane.key(), lanes.day_row(first), _AFTER_DAYS, in_order=True)
            return LaneBooks(head, tuple([lanes.day_of_entity(row) async for row in rows]))

    async def _sum(self, subscription: str, day: date, summed: Counter[Share], duplicates: Counter[str]) -> None:
        table = await self._tables.table(ROLLUPS)
        partition = rollup_partition(subscription, f"{day:%Y-%m}")
        async with self._calls:
            rows = table.query(
                partition, f"{day:%Y%m%d}", f"{day + DAY:%Y%m%d}", columns=("lane", "events", "duplicates")
            )
            async for row in rows:
                lane = str(row.values["lane"])
                summed[subscription, lane] += as_int(row.values["events"])
                duplicates[lane] += as_int(row.values.get("duplicates", 0))

    async def _details(self, day: date) -> Counter[Share]:
        stored: Counter[Share] = Counter()
        noted = await self._index.detail_days(day, day + DAY)
        await all_of([self._count_details(each.subscription, day, stored) for each in noted])
        return stored

    async def _count_details(self, subscription: str, day: date, stored: Counter[Share]) -> None:
        table = await self._tables.table(USAGE)
        async with self._calls:
            async for row in table.query(detail_partition(subscription, day), columns=("lane",)):
                stored[subscription, str(row.values["lane"])] += 1

    async def _dead(self, day: date) -> Counter[str]:
        begins = datetime.combine(day, time(), UTC)
        table = await self._tables.table(DEADLETTERS)
        first, end = deadletters.rows_between(begins, begins + DAY)
        columns = ("incarnation", "partition")
        rows = table.query(deadletters.partition_of(begins), first, end, columns)
        found = [Lane(str(row.values["incarnation"]), str(row.values["partition"])) async for row in rows]
        return Counter(lane.name for lane in found)
