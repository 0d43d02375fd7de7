"""One run closes what is over and deletes what is older still."""

from datetime import timedelta

import pytest

from chargeback.closing.close_of_day import CloseOfDay
from chargeback.closing.proofs import PROOFS
from chargeback.closing.retention import Retention
from chargeback.ledger.details import USAGE
from chargeback.prices import Prices
from seams.events import StreamUnavailable
from seams.tables import Tables, TableUnavailable
from tests.chargeback.hub_world import NOON, World, event
from tests.chargeback.staging import rows


@pytest.fixture
async def world(tables: Tables, prices: Prices) -> World:
    """An old day and a late one, both collected at their time."""
    world = World(tables, prices)
    for days in (0, 40):
        at = NOON + timedelta(days=days)
        world.append(event(at=at), "0", at)
    await world.collect()
    world.time = NOON + timedelta(days=41)
    return world


def close_of_day(world: World) -> CloseOfDay:
    return CloseOfDay(world.closing(days=30).run, Retention(world.tables, world, 30).run)


async def test_both_are_done(world: World) -> None:
    """Days within the retention get their proofs, rows from before it go; once more changes nothing."""
    for _ in range(2):
        await close_of_day(world).run()
        assert [row.row for row in await rows(world.tables, PROOFS)][-1] == "20261230-000001"
        assert len(await rows(world.tables, PROOFS)) == 30
        assert [row.partition for row in await rows(world.tables, USAGE)] == ["team-a|20261230"]


async def test_each_chore_is_done(world: World) -> None:
    """One that fails holds up none that follow, and the first fault is told."""
    done = []

    async def failing() -> None:
        done.append("failing")
        raise TableUnavailable("out")

    async def last() -> int:
        done.append("last")
        return 1

    with pytest.raises(TableUnavailable, match="out"):
        await CloseOfDay(failing, Retention(world.tables, world, 30).run, last).run()
    assert done == ["failing", "last"]
    assert [row.partition for row in await rows(world.tables, USAGE)] == ["team-a|20261230"]


async def test_a_hub_out_of_reach_keeps_no_rows_alive(world: World) -> None:
    """Where no day can be closed the fault is told, and rows whose time is over go all the same."""

    async def silent() -> dict[str, int]:
        raise StreamUnavailable("silent")

    world.ends = silent  # type: ignore[method-assign]  # the hub is out of reach
    with pytest.raises(StreamUnavailable):
        await close_of_day(world).run()
    assert await rows(world.tables, PROOFS) == []
    assert [row.partition for row in await rows(world.tables, USAGE)] == ["team-a|20261230"]
