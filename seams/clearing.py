"""Deleting all rows of a range, 100 at a time: what retentions are made of."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from seams.clock import Clock
from seams.tables import MAX_OPERATIONS, Delete, Table, TableConflict


@dataclass(frozen=True, slots=True)
class RowRange:
    """Rows of a partition with first <= RowKey < end."""

    partition: str
    first: str = ""
    end: str | None = None


async def clear(table: Table, rows: RowRange, clock: Clock, until: float) -> tuple[int, bool]:
    """Delete rows until none are left, or the monotonic clock shows `until`; rivals only find less to do.

    Returns how many were deleted, and whether none are left. Raises TableUnavailable.
    """
    count, is_empty = 0, False
    while not is_empty:
        is_empty = True
        async for some in _hundreds(table, rows):
            if clock.monotonic() >= until:
                return count, False
            is_empty = False
            # A rival may have deleted some of them: then the next pass finds the others.
            with contextlib.suppress(TableConflict):
                await table.transact([Delete(rows.partition, row) for row in some])
                count += len(some)
    return count, True


async def _hundreds(table: Table, rows: RowRange) -> AsyncIterator[list[str]]:
    """Yield RowKeys, as many at a time as a transaction takes."""
    some: list[str] = []
    async for entity in table.query(rows.partition, rows.first, rows.end, columns=()):
        some.append(entity.row)
        if len(some) == MAX_OPERATIONS:
            yield some
            some = []
    if some:
        yield some
