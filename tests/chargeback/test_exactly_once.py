"""Each event once, under rivals, faults, redelivery and SIGKILL."""

import asyncio
import multiprocessing
import os
import random
from collections import Counter
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import batched
from pathlib import Path

import pytest

from chargeback.lanes.lane_journal import Entry
from chargeback.ledger import rollups as folding
from chargeback.ledger.details import USAGE
from chargeback.ledger.ledger import Ledger
from chargeback.ledger.rollups import Numbered, Rollup, fold
from chargeback.prices import Prices
from gateway.usage import Meters, UsageEvent
from local.tables import SQLiteTables
from seams.events import ReceivedEvent
from seams.tables import TableConflict, Tables, TableUnavailable
from tests.chargeback.staging import (
    Deliver,
    FaultyTables,
    MakeEvent,
    Renamed,
    books,
    incarnation,
    rows,
    sums,
)


class Hub:
    """Partitions' logs with producers' duplicates, and how far each was checkpointed."""

    def __init__(self, make_event: MakeEvent, deliver: Deliver, dice: random.Random) -> None:
        self.logs: list[list[ReceivedEvent]] = []
        self.distinct: dict[str, UsageEvent] = {}
        for partition in "012":
            log: list[UsageEvent] = []
            for _ in range(80):
                event = make_event(
                    id=dice.randbytes(8).hex(),
                    subscription=f"s{partition}{dice.randrange(3)}",
                    model=dice.choice(["gpt-4o", "gpt-4o-mini"]),
                    time=datetime(2026, 11, 20, 12, tzinfo=UTC) - timedelta(days=dice.randrange(2)),
                    meters=Meters(prompt_tokens=dice.randrange(5000), completion_tokens=dice.randrange(500)),
                )
                self.distinct[event.id] = event
                log.append(event)
                if dice.random() < 0.05:
                    log.append(dice.choice(log[-30:]))
            self.logs.append([deliver(event, n, partition) for n, event in enumerate(log)])

    def expected(self) -> Counter[str]:
        meters = [event.meters for event in self.distinct.values()]
        return Counter(
            events=len(meters),
            prompt=sum(one.prompt_tokens for one in meters),
            completion=sum(one.completion_tokens for one in meters),
        )


type HubOf = Callable[[random.Random], Hub]


@pytest.fixture
def hub_of(make_event: MakeEvent, deliver: Deliver) -> HubOf:
    return lambda dice: Hub(make_event, deliver, dice)


async def drain(ledger: Ledger, hub: Hub, dice: random.Random) -> None:
    """Collect every partition as a trigger does: a failed batch comes again, and each batch reaches back a little."""

    async def partition(log: list[ReceivedEvent]) -> None:
        done = 0
        while done < len(log):
            end = done + dice.randrange(10, 60)
            batch = log[max(0, done - dice.randrange(40)) : end]
            while True:
                try:
                    await ledger.collect(batch)
                except (TableConflict, TableUnavailable):
                    continue
                break
            done = end

    await asyncio.gather(*[partition(log) for log in hub.logs])


async def assert_that_books_agree(tables: Tables, hub: Hub) -> None:
    journal, summed = await books(tables)
    assert journal == summed
    assert journal.total() == sum(map(len, hub.logs))


@pytest.mark.parametrize("seed", [1, 2])
async def test_rivals_faults_and_redelivery_leave_exact_sums(
    rival_tables: Callable[[], Tables],
    prices: Prices,
    hub_of: HubOf,
    seed: int,
) -> None:
    """Two collectors of all partitions, lost acknowledgements, conflicts and outages: each event once."""
    dice = random.Random(seed)
    hub = hub_of(dice)
    prefix = f"r{os.urandom(4).hex()}"
    stores = [FaultyTables(rival_tables(), dice, prefix) for _ in range(2)]
    rivals = [Ledger(store, prices, incarnation, uniform=dice.random) for store in stores]

    await asyncio.gather(*[drain(rival, hub, dice) for rival in rivals])

    plain = Renamed(rival_tables(), prefix)
    assert await sums(plain) == hub.expected()
    await assert_that_books_agree(plain, hub)
    assert len(await rows(plain, USAGE)) == len(hub.distinct)


async def test_harness_sees_a_fold_that_does_not_look_for_duplicates(
    tables: Tables,
    prices: Prices,
    hub_of: HubOf,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The control: the same run is not exact when last_seq and ring are forgotten."""

    def forgetful(rollup: Rollup, numbered: Sequence[Numbered], known: AbstractSet[int]) -> Rollup:
        return fold(replace(rollup, last_seq=-1, ring=b""), numbered)

    monkeypatch.setattr(folding, "fold", forgetful)
    monkeypatch.setattr(Entry, "last_seq", -1)
    dice = random.Random(1)
    hub = hub_of(dice)

    await drain(Ledger(FaultyTables(tables, dice, "c"), prices, incarnation, uniform=dice.random), hub, dice)

    assert (await sums(Renamed(tables, "c")))["events"] > hub.expected()["events"]


def collect_until_killed(path: Path, batches: list[list[ReceivedEvent]]) -> None:
    async def collect() -> None:
        tables = SQLiteTables(path)
        ledger = Ledger(tables, Prices(), incarnation)
        for batch in batches:
            await ledger.collect(batch)
        await tables.close()

    asyncio.run(collect())


async def test_sigkill_in_mid_collecting_leaves_exact_sums(tables: Tables, hub_of: HubOf, tmp_path: Path) -> None:
    """A collector killed again and again, and begun each time from the first event, counts each event once."""
    hub = hub_of(random.Random(3))
    batches = [list(batch) for log in hub.logs for batch in batched(log, 3, strict=False)]
    total = hub.expected()["events"]
    # Forked from a process that has the imports: spawning one would take longer than collecting.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["chargeback.ledger.ledger", "genai_prices.data", "local.tables"])
    killed_at = []
    for share in (0.1, 0.3, 0.5, 0.7):
        process = context.Process(target=collect_until_killed, args=(tmp_path / "tables.db", batches))
        process.start()
        while process.is_alive() and (await sums(tables))["events"] < share * total:
            await asyncio.sleep(0.002)
        process.kill()
        await asyncio.to_thread(process.join)
        killed_at.append((await sums(tables))["events"])
    assert 0 < killed_at[0] < total

    await asyncio.to_thread(collect_until_killed, tmp_path / "tables.db", batches)

    assert await sums(tables) == hub.expected()
    assert len(await rows(tables, USAGE)) == len(hub.distinct)
    await assert_that_books_agree(tables, hub)
