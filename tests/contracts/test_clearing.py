"""Deleting all rows of a range, in any store."""

import asyncio

from seams.clearing import RowRange, clear
from seams.clock import SystemClock
from seams.tables import Entity, Insert, Table
from tests.clocks import HandClock

ROWS = RowRange("p", "b", "c")


async def fill(table: Table, count: int) -> None:
    for start in range(0, count, 100):
        await table.transact([Insert(Entity("p", f"b{n:05}")) for n in range(start, min(start + 100, count))])
    await table.transact([Insert(Entity("p", row)) for row in ("a", "c")])
    await table.transact([Insert(Entity("q", "b"))])


async def left(table: Table) -> list[str]:
    return [entity.partition + entity.row async for entity in table.query(in_order=True)]


async def test_the_range_alone_is_deleted(table: Table) -> None:
    """More rows than a transaction takes go; what lies beside them, or in another partition, stays."""
    await fill(table, 250)

    assert await clear(table, ROWS, SystemClock(), float("inf")) == (250, True)

    assert await left(table) == ["pa", "pc", "qb"]
    assert await clear(table, ROWS, SystemClock(), float("inf")) == (0, True)


async def test_time_that_is_up_ends_it(table: Table) -> None:
    """What is left then is left, and said to be."""
    await fill(table, 5)
    clock = HandClock()

    assert await clear(table, ROWS, clock, clock.monotonic()) == (0, False)

    assert len(await left(table)) == 8


async def test_rivals_find_less_to_do(table: Table) -> None:
    """Two at once leave nothing, fail at nothing, and count each row once."""
    await fill(table, 450)

    runs = await asyncio.gather(*[clear(table, ROWS, SystemClock(), float("inf")) for _ in range(2)])

    assert sum(count for count, _ in runs) == 450
    assert all(is_empty for _, is_empty in runs)
    assert await left(table) == ["pa", "pc", "qb"]
