"""Retention: rows are deleted when what they tell is over for so many days; sums, proofs and dead letters stay.

Three kinds of rows go: detail rows, by the day of their event; the journal's days of each lane; and in the table of
orphans which calls were decided, by the month in which they began. The orphans themselves stay with the sums.

The index of partitions and the list of lanes say what there is to delete, so nothing is searched for. A partition
leaves the index after its last row: a run that was cut off, or that ran out of time, is taken up by the next one, and
rivals only find less to do. A partition that the collector notes anew meanwhile, for an event that came very late,
stays in the index.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from itertools import batched
from typing import Final

from chargeback.closing.partitions import PARTITIONS, PartitionIndex
from chargeback.concurrency import all_of
from chargeback.lanes import lanes
from chargeback.lanes.lane_journal import known_lanes
from chargeback.lanes.lanes import LANES
from chargeback.ledger.details import USAGE, detail_partition
from chargeback.ledger.rollups import rollup_partition
from chargeback.orphans.orphans import DECIDED, ORPHANS
from chargeback.periods import next_month
from seams.clearing import RowRange, clear
from seams.clock import Clock
from seams.tables import Delete, Entity, TableConflict, Tables

RUN_SECONDS: Final = 240.0
"""How long a run goes on beginning with partitions; a run on Azure may take 30 minutes."""

_AT_ONCE: Final = 4
_DAY: Final = timedelta(days=1)
_LONGEST_CALL: Final = 2 * _DAY  # an event that is just young enough to count may be of a call that began before
_FIRST_DAY: Final = date(2020, 1, 1)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Deleted:
    """How many rows are gone, and how many partitions left the index; `done` where nothing is left to delete."""

    rows: int
    partitions: int
    done: bool


@dataclass(frozen=True, slots=True)
class _Over:
    """Rows of a table whose time is over; `noted` is the index's row of them, if there is one."""

    table: str
    rows: RowRange
    noted: Entity | None = None


class Retention:
    """Deletes what ended more than `days` days ago. `seconds` bounds a run."""

    def __init__(self, tables: Tables, clock: Clock, days: int, seconds: float = RUN_SECONDS) -> None:
        self._tables = tables
        self._clock = clock
        self._days = days
        self._seconds = seconds
        self._index = PartitionIndex(tables)

    async def run(self) -> Deleted:
        """Delete what is over, the oldest first. Raises TableUnavailable; what was deleted by then is gone."""
        until = self._clock.monotonic() + self._seconds
        # The first UTC day whose rows are kept.
        first_kept = self._clock.now().date() - timedelta(days=self._days)
        rows = partitions = 0
        finding = [partial(self._details, month, first_kept) for month in _months(first_kept)]
        for find in (*finding, partial(self._decided, first_kept), partial(self._lane_days, first_kept)):
            for some in batched(await find(), _AT_ONCE, strict=False):
                cleared = await all_of([self._clear(each, until) for each in some])
                rows += sum(count for count, _ in cleared)
                partitions += sum(
                    is_empty and over.noted is not None for over, (_, is_empty) in zip(some, cleared, strict=True)
                )
                if not all(is_empty for _, is_empty in cleared):
                    logger.warning(
                        "%d rows were deleted; more from before %s are left for the next run", rows, first_kept
                    )
                    return Deleted(rows, partitions, done=False)
        if rows:
            logger.info("%d rows from before %s were deleted", rows, first_kept)
        return Deleted(rows, partitions, done=True)

    async def _details(self, month: date, first_kept: date) -> list[_Over]:
        days = await self._index.detail_days(month, min(first_kept, next_month(month)))
        return [_Over(USAGE, RowRange(detail_partition(each.subscription, each.day)), each.entity) for each in days]

    async def _decided(self, first_kept: date) -> list[_Over]:
        months = await self._index.orphan_months(first_kept - _LONGEST_CALL)
        return [
            _Over(ORPHANS, RowRange(rollup_partition(each.subscription, each.month), *DECIDED), each.entity)
            for each in months
        ]

    async def _lane_days(self, first_kept: date) -> list[_Over]:
        # Events of the first day that is kept may have reached the hub on the day before, by another clock.
        kept = lanes.day_row(first_kept - _DAY)
        known = await known_lanes(self._tables)
        return [_Over(LANES, RowRange(lane.key(), lanes.day_row(_FIRST_DAY), kept)) for lane in known]

    async def _clear(self, over: _Over, until: float) -> tuple[int, bool]:
        """Return how many rows were deleted, and whether none are left."""
        count, is_empty = await clear(await self._tables.table(over.table), over.rows, self._clock, until)
        if is_empty and over.noted is not None:
            await self._forget(over.noted)
        return count, is_empty

    async def _forget(self, noted: Entity) -> None:
        try:
            await (await self._tables.table(PARTITIONS)).transact([Delete(noted.partition, noted.row, noted.etag)])
        except TableConflict:
            logger.info("%s: the index was changed meanwhile; the next run looks again", noted.row)


def _months(end: date) -> Iterator[date]:
    month = _FIRST_DAY
    while month < end:
        yield month
        month = next_month(month)
