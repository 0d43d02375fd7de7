"""What is over goes: detail rows, the days of lanes, which calls were decided. Nothing else does."""

import asyncio
import os
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from chargeback.closing.partitions import PARTITIONS
from chargeback.closing.retention import Deleted, Retention
from chargeback.deadletters.deadletters import DEADLETTERS
from chargeback.lanes.intents import open_call
from chargeback.lanes.lanes import LANES
from chargeback.lanes.progress import Stray
from chargeback.ledger.details import USAGE
from chargeback.ledger.ledger import Ledger
from chargeback.ledger.rollups import ROLLUPS
from chargeback.orphans.orphans import ORPHANS, Orphans
from chargeback.prices import Prices
from gateway.usage import UsageEvent, encode
from seams.events import ReceivedEvent
from seams.tables import Operation, Table, Tables, TableUnavailable, Upsert
from tests.chargeback.orphan_desk import intent
from tests.chargeback.staging import FaultyTables, MakeEvent, Renamed, incarnation, rows, sums

NOW = datetime(2026, 11, 20, 1, tzinfo=UTC)
DAYS = 90
KEPT = NOW - timedelta(days=DAYS)
OVER = KEPT - timedelta(days=1)


class HandClock:
    """`seconds` pass with each look at it."""

    def __init__(self, seconds: float = 0.0, at: datetime = NOW) -> None:
        self._seconds = seconds
        self._at = at
        self._looks = 0

    def now(self) -> datetime:
        return self._at

    def monotonic(self) -> float:
        self._looks += 1
        return self._looks * self._seconds


async def collect(tables: Tables, prices: Prices, events: Sequence[UsageEvent | bytes], first: int = 0) -> None:
    """Let the ledger collect events on the day of each; `first` is the number of the first."""
    batch = [
        ReceivedEvent(event, "0", n, NOW)
        if isinstance(event, bytes)
        else ReceivedEvent(encode(event), "0", n, event.time)
        for n, event in enumerate(events, first)
    ]
    await Ledger(tables, prices, incarnation).collect(batch)


async def details(tables: Tables) -> list[str]:
    return [row.partition for row in await rows(tables, USAGE)]


@pytest.fixture
def shared(rival_tables: Callable[[], Tables]) -> Tables:
    """Empty tables, in both kinds of store."""
    return Renamed(rival_tables(), f"x{os.urandom(4).hex()}")


async def test_only_details_of_days_that_are_over_go(shared: Tables, prices: Prices, make_event: MakeEvent) -> None:
    """The last day that is kept stays whole, and so do sums and dead letters; a second run finds nothing to do."""
    old = [make_event(time=OVER - timedelta(days=day), subscription=name) for day in (0, 1, 300) for name in ("a", "b")]
    kept = [make_event(time=KEPT.replace(hour=0), subscription="a"), make_event(time=NOW, subscription="b")]
    await collect(shared, prices, [*old, *kept, b"dead"])
    before = await sums(shared), await rows(shared, ROLLUPS), await rows(shared, DEADLETTERS)

    # With the two months in which calls of the oldest were decided.
    assert await Retention(shared, HandClock(), DAYS).run() == Deleted(rows=8, partitions=8, done=True)

    assert await details(shared) == ["a|20260822", "b|20261120"]
    assert (await sums(shared), await rows(shared, ROLLUPS), await rows(shared, DEADLETTERS)) == before
    assert await Retention(shared, HandClock(), DAYS).run() == Deleted(rows=0, partitions=0, done=True)


async def test_many_rows(shared: Tables, prices: Prices, make_event: MakeEvent) -> None:
    """A partition of more rows than a transaction and a page take is emptied."""
    await collect(shared, prices, [make_event(time=OVER) for _ in range(1230)])
    assert await Retention(shared, HandClock(), DAYS).run() == Deleted(rows=1230, partitions=1, done=True)
    assert await details(shared) == []


async def test_a_run_is_bounded(tables: Tables, prices: Prices, make_event: MakeEvent) -> None:
    """A run that has no time left stops, also inside a day, and the next ones end the work."""
    await collect(tables, prices, [make_event(time=OVER) for _ in range(450)])
    runs: list[Deleted] = []
    while not runs or not runs[-1].done:
        runs.append(await Retention(tables, HandClock(seconds=1.0), DAYS, seconds=3.0).run())
    assert len(runs) > 2
    assert (sum(run.rows for run in runs), sum(run.partitions for run in runs)) == (450, 1)
    assert await details(tables) == []


async def test_rivals_and_faults(shared: Tables, prices: Prices, make_event: MakeEvent) -> None:
    """Runs at once, which fail and are cut off at random, end with the same rows as one run."""
    await collect(shared, prices, [make_event(time=OVER, subscription=f"s{n % 7}") for n in range(700)])
    await collect(shared, prices, [make_event(time=NOW)], first=700)

    async def until_done(seed: int) -> None:
        faulty = FaultyTables(shared, random.Random(seed), "")
        for _ in range(200):
            try:
                if (await Retention(faulty, HandClock(), DAYS).run()).done:
                    return
            except TableUnavailable:
                continue
        pytest.fail("it never ended")

    await asyncio.gather(*(until_done(seed) for seed in range(3)))
    await Retention(shared, HandClock(), DAYS).run()
    assert await details(shared) == ["service-desk|20261120"]
    assert [row.row for row in await rows(shared, PARTITIONS) if row.row[:8].isdigit()] == ["20261120|service-desk"]


async def test_days_of_lanes_go_and_the_journal_goes_on(shared: Tables, prices: Prices, make_event: MakeEvent) -> None:
    """A lane keeps its head, the days whose events are kept and the one before; numbers follow each other still."""
    times = [KEPT - timedelta(days=days) for days in (300, 2, 1, 0)]
    await collect(shared, prices, [make_event(time=time) for time in times])

    assert (await Retention(shared, HandClock(), DAYS).run()).done

    left = [row.row for row in await rows(shared, LANES)]
    assert left == ["day|20260821", "day|20260822", "head", "2026-11-01T00=3A00=3A00Z.0"]
    await collect(shared, prices, [make_event(time=NOW)], first=4)
    journal = {row.row: row.values for row in await rows(shared, LANES)}
    assert [journal[row]["begins"] for row in ("day|20260821", "day|20260822", "day|20261120")] == [2, 3, 4]


async def test_what_was_decided_is_forgotten_and_orphans_stay(shared: Tables) -> None:
    """Once no event of a month can count any more, only the lines of its orphans are left of it."""
    orphans = Orphans(shared)
    for number, month in enumerate(("2026-06", "2026-07", "2026-08")):
        began = datetime.fromisoformat(f"{month}-15T12:00:00+00:00")
        assert await orphans.add(open_call(intent(f"orphan-{number}", time=began)), "")
        await orphans.take_back([Stray(f"late-{number}", "s", began, began, older=False)])

    assert await Retention(shared, HandClock(at=datetime(2026, 11, 3, tzinfo=UTC)), DAYS).run() == Deleted(
        rows=4, partitions=2, done=True
    )

    kinds = [(row.partition, row.row.split("|")[0]) for row in await rows(shared, ORPHANS)]
    assert kinds == [
        ("s|202606", "orphan"),
        ("s|202607", "orphan"),
        *[("s|202608", "decided")] * 2,
        ("s|202608", "orphan"),
    ]
    assert [row.row for row in await rows(shared, PARTITIONS)] == ["202608|s"]


async def test_a_late_event_is_not_forgotten(tables: Tables, prices: Prices, make_event: MakeEvent) -> None:
    """A day that the collector notes anew while its rows are deleted stays in the index and goes with the next run."""
    await collect(tables, prices, [make_event(time=OVER)])

    class NotedMeanwhile:
        async def table(self, name: str) -> Table:
            table = await tables.table(name)
            return Noting(table) if name == USAGE else table

        async def close(self) -> None: ...

    class Noting:
        def __init__(self, table: Table) -> None:
            self.get = table.get
            self.query = table.query
            self._transact = table.transact

        async def transact(self, operations: Sequence[Operation]) -> list[str | None]:
            index = await tables.table(PARTITIONS)
            noted = [row async for row in index.query("usage|202608")]
            await index.transact([Upsert(row) for row in noted])
            return await self._transact(operations)

    assert await Retention(NotedMeanwhile(), HandClock(), DAYS).run() == Deleted(rows=1, partitions=1, done=True)
    assert await Retention(tables, HandClock(), DAYS).run() == Deleted(rows=0, partitions=1, done=True)
