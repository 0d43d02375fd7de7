"""Retention: detail rows are deleted when their day is over for so many days; sums, proofs and dead letters stay.

The index of partitions says what there is to delete, so nothing is searched for. A partition leaves the index after its
last row: a run that was cut off, or that ran out of time, is taken up by the next one, and rivals only find less to do.
A partition that the collector notes anew meanwhile, for an event that came very late, stays in the index.
"""

import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import batched
from typing import Final

from chargeback.closing.partitions import PARTITIONS, DetailDay, PartitionIndex
from chargeback.concurrency import all_of
from chargeback.ledger.details import USAGE, detail_partition
from chargeback.periods import next_month
from seams.clock import Clock
from seams.tables import MAX_OPERATIONS, Delete, Table, TableConflict, Tables

RUN_SECONDS: Final = 240.0
"""How long a run goes on beginning with partitions; a run on Azure may take 30 minutes."""

_AT_ONCE: Final = 4
_FIRST_DAY: Final = date(2020, 1, 1)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Deleted:
    """How many rows of how many subscriptions' days are gone; `done` where nothing is left to delete."""

    rows: int
    days: int
    done: bool


class Retention:
    """Deletes the detail rows of days that ended more than `days` days ago. `seconds` bounds a run."""

    def __init__(self, tables: Tables, clock: Clock, days: int, seconds: float = RUN_SECONDS) -> None:
        self._tables = tables
        self._clock = clock
        self._days = days
        self._seconds = seconds
        self._index = PartitionIndex(tables)

    def first_kept(self) -> date:
        """Return the earliest UTC day whose detail rows are kept."""
        return self._clock.now().date() - timedelta(days=self._days)

    async def run(self) -> Deleted:
        """Delete what is over, the oldest first. Raises TableUnavailable; what was deleted by then is gone."""
        until = self._clock.monotonic() + self._seconds
        end = self.first_kept()
        rows = days = 0
        for first in _months(end):
            over = await self._index.detail_days(first, min(end, next_month(first)))
            for some in batched(over, _AT_ONCE, strict=False):
                cleared = await all_of([self._clear(each, until) for each in some])
                rows += sum(count for count, _ in cleared)
                days += sum(is_empty for _, is_empty in cleared)
                if not all(is_empty for _, is_empty in cleared):
                    logger.warning(
                        "%d detail rows were deleted; more from before %s are left for the next run", rows, end
                    )
                    return Deleted(rows, days, done=False)
        if days:
            logger.info("%d detail rows of %d subscriptions' days before %s were deleted", rows, days, end)
        return Deleted(rows, days, done=True)

    async def _clear(self, over: DetailDay, until: float) -> tuple[int, bool]:
        """Return how many rows were deleted, and whether none are left."""
        table = await self._tables.table(USAGE)
        partition = detail_partition(over.subscription, over.day)
        count, is_empty = 0, False
        while not is_empty:
            is_empty = True
            async for rows in _hundreds(table, partition):
                if self._clock.monotonic() >= until:
                    return count, False
                is_empty = False
                # A rival may have deleted some of them: then the next pass finds the others.
                with contextlib.suppress(TableConflict):
                    await table.transact([Delete(partition, row) for row in rows])
                    count += len(rows)
        await self._forget(over)
        return count, True

    async def _forget(self, over: DetailDay) -> None:
        noted = over.entity
        try:
            await (await self._tables.table(PARTITIONS)).transact([Delete(noted.partition, noted.row, noted.etag)])
        except TableConflict:
            logger.info("%s: the index was changed meanwhile; the next run looks again", over.day)


async def _hundreds(table: Table, partition: str) -> AsyncIterator[list[str]]:
    """Yield the RowKeys of a partition, as many at a time as a transaction takes."""
    rows: list[str] = []
    async for entity in table.query(partition, columns=()):
        rows.append(entity.row)
        if len(rows) == MAX_OPERATIONS:
            yield rows
            rows = []
    if rows:
        yield rows


def _months(end: date) -> Iterator[date]:
    month = _FIRST_DAY
    while month < end:
        yield month
        month = next_month(month)
