"""A day's books agree, or the proof says what does not, where, and by how much."""

from collections.abc import Callable
from datetime import date, timedelta

import pytest

from chargeback.closing.proofs import PROOFS, Proof, from_entity
from chargeback.deadletters.deadletters import DEADLETTERS
from chargeback.errors import DayInvalid
from chargeback.lanes.lanes import LANES, day_row
from chargeback.ledger.details import USAGE
from chargeback.ledger.rollups import ROLLUPS
from chargeback.prices import Prices
from seams.tables import Delete, Entity, Table, Tables, TableUnavailable, Upsert
from tests.chargeback.hub_world import DAY, NEXT_NIGHT, NOON, World, event, intent, withdrawal
from tests.chargeback.staging import FailingAt, rows

HOUR = timedelta(hours=1)


@pytest.fixture
def world(tables: Tables, prices: Prices) -> World:
    return World(tables, prices)


async def remove(tables: Tables, name: str, which: Callable[[Entity], bool]) -> None:
    """Take away the first row that fits, as a fault or a hand might."""
    row = next(row for row in await rows(tables, name) if which(row))
    await (await tables.table(name)).transact([Delete(row.partition, row.row)])


async def revisions(tables: Tables) -> list[Proof]:
    return [from_entity(row) for row in await rows(tables, PROOFS)]


def busy_day(world: World) -> None:
    """Two subscriptions, two partitions, each kind of record, a duplicate, a replay, and a midnight in between."""
    first, second, third = event("team-a"), event("team-b"), event("team-a", at=NEXT_NIGHT - HOUR - HOUR / 60)
    for record in (intent(first), first, intent(second), withdrawal(second), b"no event", first):
        world.append(record)
    world.append(second, "1")
    world.append(second.__replace__(replayed=True), "1", NOON + HOUR)
    world.append(third, "1", NEXT_NIGHT - HOUR)  # ended on the day, enqueued on the next


async def test_books_that_agree(world: World) -> None:
    """Emitted is received is summed is stored, lane by lane, whatever came twice, early or late."""
    busy_day(world)
    await world.collect()

    (proof,) = await world.closing().run()

    assert (proof.day, proof.status, proof.findings) == (DAY, "proved", [])
    zero, one = proof.lanes
    assert (zero.first, zero.last, zero.emitted, zero.received) == (0, 5, 6, 6)
    assert (zero.usage_events, zero.intents, zero.withdrawals, zero.dead_letters) == (2, 2, 1, 1)
    assert (zero.day_events, zero.summed, zero.duplicates, zero.stored) == (2, 1, 1, 1)
    assert (one.first, one.last, one.usage_events, one.day_events) == (0, 1, 2, 3)
    assert (one.summed, one.duplicates, one.stored) == (2, 1, 2)
    totals = proof.totals
    assert (totals.emitted, totals.received, totals.day_events, totals.summed, totals.stored) == (8, 8, 5, 3, 3)
    assert (proof.revision, proof.closed_at) == (1, NEXT_NIGHT)
    assert await world.closing().proof(DAY) == proof


async def test_closed_once(world: World) -> None:
    """Further runs, and a proof on demand that finds the same, add nothing."""
    busy_day(world)
    await world.collect()
    (proof,) = await world.closing().run()
    assert await world.closing().run() == []
    assert await world.closing().prove(DAY) == proof
    assert await revisions(world.tables) == [proof]


@pytest.mark.parametrize(
    ("table", "partition", "findings"),
    [
        (
            ROLLUPS,
            "team-b|202611",
            [
                "partition 1 of hub-1: 3 usage events were received, 1 are in the rollups, 0 had come before",
                "partition 1 of hub-1: 0 usage events of team-b are in the rollups, 1 detail rows are stored",
            ],
        ),
        (
            USAGE,
            "team-b|20261120",
            ["partition 1 of hub-1: 1 usage events of team-b are in the rollups, 0 detail rows are stored"],
        ),
        (DEADLETTERS, "2026", ["partition 0 of hub-1: 1 dead letters were received, 0 are stored"]),
    ],
)
async def test_what_is_lost_is_named(world: World, table: str, partition: str, findings: list[str]) -> None:
    """A lost rollup, detail row or dead letter breaks the day with its lane, its subscription and its count."""
    busy_day(world)
    await world.collect()
    await remove(world.tables, table, lambda row: row.partition == partition)

    proof = await world.closing().prove(DAY)

    assert (proof.status, proof.findings) == ("broken", findings)
    assert await revisions(world.tables) == [proof]


async def test_a_lost_page_of_the_journal(world: World) -> None:
    """A lane's day that is gone between two others is found by the numbers around it."""
    for days in (-1, 0, 1):
        for _ in range(3):
            world.append(event(at=NOON + timedelta(days=days)), "0", NOON + timedelta(days=days))
    world.time = NOON + timedelta(days=1, hours=1)
    await world.collect()
    await remove(world.tables, LANES, lambda row: row.row == day_row(DAY))
    proof = await world.closing().prove(DAY)
    assert proof.findings[0] == "partition 0 of hub-1: numbers 3 to 5 are in no day's books"
    assert proof.status == "broken"


async def test_the_latest_page_of_the_journal(world: World) -> None:
    """A lane's latest day that is gone is found by its head."""
    for days in (-1, 0):
        world.append(event(at=NOON + timedelta(days=days)), "0", NOON + timedelta(days=days))
    await world.collect()
    await remove(world.tables, LANES, lambda row: row.row == day_row(DAY))
    proof = await world.closing().prove(DAY)
    assert proof.findings[0] == "partition 0 of hub-1: numbers up to 1 are in no day's books"


async def test_numbers_that_never_came_are_named(world: World) -> None:
    """Events that left the hub unread are gaps, by partition and number; the rest is still compared."""
    world.skip("1", 2)
    world.append(event(), "1")
    world.append(event())
    world.skip("0", 3)
    world.append(event())
    await world.collect()

    proof = await world.closing().prove(DAY)

    assert proof.status == "broken"
    assert proof.findings == [
        "partition 0 of hub-1: numbers 1 to 3 never arrived",
        "partition 1 of hub-1: numbers 0 to 1 never arrived",
    ]
    assert [(lane.gaps, lane.missing, lane.emitted, lane.received) for lane in proof.lanes] == [
        ([[1, 3]], 3, 5, 2),
        ([[0, 1]], 2, 3, 1),
    ]


async def test_a_collector_that_lags_keeps_the_day_open(world: World) -> None:
    """Until everything of the day was read it is open, with how far there is to go, and nothing is kept."""
    for _ in range(10):
        world.append(event())
    await world.collect(most=4)

    proof = await world.closing().prove(DAY)

    assert (proof.status, proof.revision, proof.closed_at) == ("open", 0, None)
    assert proof.findings == ["partition 0 of hub-1: the collector is 6 numbers behind"]
    assert [(lane.lag, lane.complete) for lane in proof.lanes] == [(6, False)]
    assert await world.closing().run() == []
    await world.collect()
    assert [closed.status for closed in await world.closing().run()] == ["proved"]


async def test_what_comes_after_midnight_does_not_hold_the_day_up(world: World) -> None:
    """A lane of which a later day was begun has been read to the day's end, however much still waits."""
    world.append(event())
    for _ in range(5):
        world.append(event(at=NEXT_NIGHT), "0", NEXT_NIGHT)
    await world.collect(most=2)
    assert [proof.status for proof in await world.closing().run()] == ["proved"]


async def test_a_partition_that_was_never_read(world: World) -> None:
    """A partition without a lane is behind by all that it holds."""
    world.append(event())
    await world.collect()
    world.append(event(), "1")
    proof = await world.closing().prove(DAY)
    assert (proof.status, proof.findings) == ("open", ["partition 1 of hub-1: the collector is 1 numbers behind"])


async def test_a_quiet_day_is_proved_too(world: World) -> None:
    """Between busy days one without any event has a proof with nothing in it."""
    world.append(event(at=NOON - timedelta(days=2)), "0", NOON - timedelta(days=2))
    world.append(event())
    await world.collect()
    found = await world.closing().run()
    assert [(proof.day.day, proof.status, proof.totals.emitted) for proof in found] == [
        (18, "proved", 1),
        (19, "proved", 0),
        (20, "proved", 1),
    ]


async def test_a_hub_that_was_made_again(world: World) -> None:
    """The new hub's numbers start again in lanes of their own; an old lane that was proved to its end stays proved."""
    world.append(event())
    await world.collect()
    (before,) = await world.closing().run()
    world.make_anew()
    world.time += timedelta(days=1)
    world.append(event(at=NOON + timedelta(days=1)), "0", NOON + timedelta(days=1))
    await world.collect()

    (after,) = await world.closing().run()

    assert (after.day, after.status, [lane.incarnation for lane in after.lanes]) == (
        date(2026, 11, 21),
        "proved",
        ["hub-1-again"],
    )
    assert await world.closing().prove(DAY) == before


async def test_a_hub_that_went_before_it_was_read_to_its_end(world: World) -> None:
    """What a deleted hub held beyond the last number read cannot be known, and the day says so."""
    world.append(event())
    world.append(event())
    await world.collect(most=1)
    world.make_anew()
    proof = await world.closing().prove(DAY)
    assert (proof.status, proof.findings) == (
        "broken",
        ["partition 0 of hub-1: the hub is gone, and nobody knows whether it held anything after number 0"],
    )
    assert await world.closing().prove(DAY) == proof


async def test_a_batch_under_way_does_not_break_the_day(world: World) -> None:
    """A batch that is in the rollups and not yet in the journal leaves the day open; delivered again, it is proved."""
    world.append(event())
    await world.collect()
    world.append(event(), "0", NOON + HOUR)
    with pytest.raises(TableUnavailable):
        await world.collect(FailingAt(world.tables, LANES))
    ends = world.numbers["0"]
    world.numbers["0"] = 1  # the hub was asked before the event came, and the rollups read after
    asked = 0

    async def ends_later() -> dict[str, int]:
        nonlocal asked
        asked += 1
        if asked > 1:
            world.numbers["0"] = ends
        return {"0": world.numbers["0"] - 1, "1": -1}

    world.ends = ends_later  # type: ignore[method-assign]  # the hub grows between two looks
    proof = await world.closing().prove(DAY)
    assert (proof.status, await revisions(world.tables)) == ("open", [])
    await world.collect()
    assert (await world.closing().prove(DAY)).status == "proved"


async def test_a_late_event_makes_a_new_revision(world: World) -> None:
    """An event of a day that was closed is counted, and the day's earlier proof is kept beside the new one."""
    world.append(event())
    await world.collect()
    (first,) = await world.closing().run()
    world.append(event(), "1", NEXT_NIGHT)
    await world.collect()
    world.time += HOUR

    (second,) = await world.closing().run()

    assert (second.day, second.status, second.revision) == (DAY, "proved", 2)
    assert (first.totals.summed, second.totals.summed) == (1, 2)
    assert await revisions(world.tables) == [first, second]
    assert await world.closing().proof(DAY) == second
    assert await world.closing().run() == []


async def test_a_broken_day_that_was_mended(world: World) -> None:
    """What was lost and is put back is found by a proof on demand; that the day was broken stays on record."""
    world.append(event())
    await world.collect()
    (row,) = await rows(world.tables, USAGE)
    table = await world.tables.table(USAGE)
    await table.transact([Delete(row.partition, row.row)])
    (broken,) = await world.closing().run()
    assert await world.closing().run() == []

    await table.transact([Upsert(row)])
    mended = await world.closing().prove(DAY)

    assert [(broken.status, broken.revision), (mended.status, mended.revision)] == [("broken", 1), ("proved", 2)]
    assert await revisions(world.tables) == [broken, mended]


async def test_missed_days_are_caught_up_within_the_retention(world: World) -> None:
    """After an absence every day that still has its detail rows is closed, and none before."""
    for days in (0, 1, 2, 30):
        at = NOON + timedelta(days=days)
        world.append(event(at=at), "0", at)
    world.time = NOON + timedelta(days=31)
    await world.collect()
    found = await world.closing(days=30).run()
    assert [found[0].day, found[-1].day, len(found)] == [DAY + timedelta(days=1), DAY + timedelta(days=30), 30]
    assert {proof.status for proof in found} == {"proved"}


async def test_a_run_is_bounded(world: World) -> None:
    """A run that takes long leaves days for the next one."""
    for days in range(4):
        world.append(event(at=NOON + timedelta(days=days)), "0", NOON + timedelta(days=days))
    world.time = NOON + timedelta(days=4)
    await world.collect()
    closing = world.closing()

    class Slow:
        async def table(self, name: str) -> Table:
            world.seconds += 50
            return await world.tables.table(name)

        async def close(self) -> None: ...

    runs = [len(await world.closing(Slow()).run()) for _ in range(4)]
    assert (sum(runs), await closing.run()) == (4, [])
    assert runs[0] < 4


async def test_details_that_are_not_kept_are_not_asked_for(world: World) -> None:
    """Without detail rows the day is proved by its sums."""
    world.append(event())
    await world.collect()
    without = await world.closing(detail_rows=False).prove(DAY)
    assert (without.status, without.totals.stored) == ("proved", None)


async def test_a_day_whose_books_are_gone_is_not_proved_anew(world: World) -> None:
    """Its proof stays and is shown; a day that was never closed by then is refused."""
    world.append(event())
    await world.collect()
    proof = await world.closing().prove(DAY)
    world.time += timedelta(days=100)
    assert await world.closing().proof(DAY) == proof
    for asked in (world.closing().prove(DAY), world.closing().proof(DAY - timedelta(days=1))):
        with pytest.raises(DayInvalid, match="are gone"):
            await asked


async def test_the_present_day_is_open(world: World) -> None:
    """Today's proof is made as it is asked for, never kept; tomorrow's is refused."""
    world.time = NOON + HOUR
    world.append(event())
    await world.collect()
    for proof in (await world.closing().proof(DAY), await world.closing().prove(DAY)):
        assert (proof.status, proof.revision, proof.totals.summed) == ("open", 0, 1)
    assert await revisions(world.tables) == []
    with pytest.raises(DayInvalid, match="has not begun"):
        await world.closing().proof(DAY + timedelta(days=1))
    with pytest.raises(DayInvalid):
        await world.closing().prove(DAY + timedelta(days=1))


async def test_nothing_yet(world: World) -> None:
    """Before the first event there is nothing to close."""
    assert await world.closing().run() == []
    assert (await world.closing().proof(DAY)).lanes == []
