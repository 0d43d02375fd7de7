"""Calls that ended late, hundreds at a time: no orphans, whether they were some before or would be yet."""

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from chargeback.lanes.intents import open_call
from chargeback.lanes.progress import Stray
from chargeback.orphans.orphans import ORPHANS, Orphans
from seams.tables import Tables, TableUnavailable
from tests.chargeback.orphan_desk import NOON, intent
from tests.chargeback.staging import FailingAt, Renamed, rows
from tests.gateway.memory_tables import MemoryTables

MINUTE = timedelta(minutes=1)


def strays(*names: str, at: datetime = NOON) -> list[Stray]:
    return [Stray(name, "s", at, at + MINUTE, older=False) for name in names]


async def standing(tables: Tables, period: str = "2026-11") -> int:
    return len([line async for line in Orphans(tables).lines("s", period)])


async def test_hundreds_of_late_ends_are_few_calls() -> None:
    """Where no sweep has been, a transaction of a hundred rows says so for each hundred calls of a month."""
    tables = MemoryTables()
    orphans = Orphans(tables)
    await orphans.take_back(strays("first"))
    before = tables.calls

    await orphans.take_back(strays(*(f"call-{n}" for n in range(300))))

    assert tables.calls - before == 3
    assert not await orphans.add(open_call(intent("call-299")), "")


@pytest.mark.parametrize("late", [["a"], ["a", "b", "c"], [*(f"other-{n}" for n in range(150)), "a", "c"]])
async def test_only_those_that_came_late_are_taken_back(
    rival_tables: Callable[[], Tables], late: Sequence[str]
) -> None:
    """Among calls that ended late the orphans are found and removed; others stand, and repeating changes nothing."""
    tables = Renamed(rival_tables(), f"o{os.urandom(4).hex()}")
    orphans = Orphans(tables)
    for name in ("a", "b"):
        assert await orphans.add(open_call(intent(name)), "")
        assert not await orphans.add(open_call(intent(name)), "")

    for _ in range(2):
        await orphans.take_back(strays(*late))

    assert await standing(tables) == len({"a", "b"} - set(late))
    assert not await orphans.add(open_call(intent("a")), "")


async def test_call_at_the_end_of_a_month_is_taken_back_in_both() -> None:
    """When it began is known by two clocks only, so that its orphan may be in either month."""
    tables = MemoryTables()
    orphans = Orphans(tables)
    midnight = datetime(2026, 12, 1, tzinfo=UTC)
    assert await orphans.add(open_call(intent("a", time=midnight - MINUTE)), "")

    await orphans.take_back(strays("a", at=midnight))

    assert await standing(tables) == 0
    assert {row.partition for row in await rows(tables, ORPHANS)} == {"s|202611", "s|202612"}


async def test_cut_off_in_between_it_is_done_again() -> None:
    """What could not be removed is removed when the same calls come again."""
    tables = MemoryTables()
    orphans = Orphans(tables)
    await orphans.add(open_call(intent("a")), "")
    with pytest.raises(TableUnavailable):
        await Orphans(FailingAt(tables, ORPHANS)).take_back(strays("a"))
    assert await standing(tables) == 1

    await orphans.take_back(strays("a"))

    assert await standing(tables) == 0
