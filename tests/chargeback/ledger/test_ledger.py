"""Each event once, whatever befalls the collector."""

import asyncio
import os
from collections import Counter
from collections.abc import Callable

import pytest
from msgspec import structs

from chargeback.lanes.lanes import LANES
from chargeback.ledger import rollup_store
from chargeback.ledger.details import USAGE
from chargeback.ledger.ledger import Ledger
from chargeback.ledger.rollups import METERS, ROLLUPS, from_entity
from chargeback.prices import Prices
from gateway.usage import MOST_METERED, Meters
from seams.events import StreamUnavailable
from seams.tables import TableConflict, Tables, TableUnavailable
from tests.chargeback.staging import Contended, Deliver, FailingAt, MakeEvent, Renamed, incarnation, rows, sums
from tests.gateway.memory_tables import MemoryTables


async def test_odd_names_are_kept(
    rival_tables: Callable[[], Tables], prices: Prices, make_event: MakeEvent, deliver: Deliver
) -> None:
    """Names that are no table keys as they are get rows of their own, with the true names in columns."""
    tables = Renamed(rival_tables(), f"o{os.urandom(4).hex()}")
    odd = ["a/b", "a\\b", "a#b?", "it's", "größe", "\N{EARTH GLOBE AMERICAS}" * 25, "%2F", "=2F", " ", "|", "x" * 100]
    events = [make_event(id=name, subscription=name, deployment=name, model=name) for name in odd]

    await Ledger(tables, prices, incarnation).collect([deliver(event, n) for n, event in enumerate(events)])

    assert sorted(from_entity(one).names.deployment for one in await rows(tables, ROLLUPS)) == sorted(odd)
    assert sorted(str(one.values["id"]) for one in await rows(tables, USAGE)) == sorted(odd)


async def test_events_become_rollups_and_detail_rows(
    tables: Tables, prices: Prices, make_event: MakeEvent, deliver: Deliver
) -> None:
    """A batch is summed by day, names and lane, and each event has its row."""
    ledger = Ledger(tables, prices, incarnation)
    first = make_event(id="a", labels={"ticket": "INC1\N{SNOWMAN}"}, avoided=Meters(prompt_tokens=7))
    events = [first, make_event(id="b"), make_event(id="c", model="gpt-4o-mini"), make_event(id="d", estimated=True)]

    await ledger.collect([deliver(event, n) for n, event in enumerate(events)])

    rollup = max((from_entity(entity) for entity in await rows(tables, ROLLUPS)), key=lambda one: one.events)
    assert (rollup.events, rollup.requests, rollup.estimated_requests) == (3, 3, 1)
    assert rollup.usage() == Meters(prompt_tokens=300, cached_tokens=60, completion_tokens=30, reasoning_tokens=15)
    assert rollup.names.lane == "2026-11-01T00:00:00Z.0"
    assert rollup.last_seq == 3
    details = await rows(tables, USAGE)
    assert [entity.row for entity in details] == ["a", "b", "c", "d"]
    assert details[0].partition == "service-desk|20261120"
    assert {**details[0].values, "labels": ""} == {
        "lane": "2026-11-01T00:00:00Z.0",
        "sequence_number": 0,
        "id": "a",
        "time": first.time,
        "subscription": "service-desk",
        "operation": "chat/completions",
        "deployment": "gpt-4o",
        "model": "gpt-4o-2024-08-06",
        "backend": "eastus",
        "deployment_type": "global",
        "status": 200,
        "outcome": "completed",
        "version": 1,
        "attempts": 1,
        "prompt_tokens": 100,
        "cached_tokens": 20,
        "completion_tokens": 10,
        "reasoning_tokens": 5,
        "avoided_prompt_tokens": 7,
        "labels": "",
    }
    assert details[0].values["labels"] == '{"ticket": "INC1\\u2603"}'


async def test_detail_rows_can_be_switched_off(
    tables: Tables, prices: Prices, make_event: MakeEvent, deliver: Deliver
) -> None:
    """Without detail rows the sums are the same."""
    await Ledger(tables, prices, incarnation, detail_rows=False).collect([deliver(make_event(replayed=True), 0)])

    assert await sums(tables) == Counter(events=1, prompt=100, completion=10)
    assert await rows(tables, USAGE) == []


async def test_redelivery_and_producers_duplicates_change_nothing(
    tables: Tables, prices: Prices, make_event: MakeEvent, deliver: Deliver
) -> None:
    """The same batch again, to the same collector and to a fresh one, and an id under a new number add nothing."""
    batch = [deliver(make_event(id=str(n)), n) for n in range(5)]
    batch.append(deliver(make_event(id="2"), 5))
    ledger = Ledger(tables, prices, incarnation)

    await ledger.collect(batch)
    await ledger.collect(batch)
    await Ledger(tables, prices, incarnation).collect(batch[3:])

    assert await sums(tables) == Counter(events=5, prompt=500, completion=50)
    assert len(await rows(tables, USAGE)) == 5


async def test_redelivery_costs_a_read(prices: Prices, make_event: MakeEvent, deliver: Deliver) -> None:
    """A batch that the lane's head knows costs the reading of it, and nothing is written."""
    tables = MemoryTables()
    batch = [deliver(make_event(), n) for n in range(200)]
    await Ledger(tables, prices, incarnation).collect(batch)
    calls, writes = tables.calls, tables.writes

    fresh = Ledger(tables, prices, incarnation)
    for first in range(0, 200, 50):
        await fresh.collect(batch[first : first + 50])

    assert (tables.calls - calls, tables.writes - writes) == (4, 0)


async def test_rival_that_is_late_writes_nothing(prices: Prices, make_event: MakeEvent, deliver: Deliver) -> None:
    """A collector whose view is old meets one conflict, finds the batch in the books, and from then on looks first."""
    tables = MemoryTables()
    first, late = (Ledger(tables, prices, incarnation, uniform=lambda: 0.0) for _ in range(2))
    batches = [[deliver(make_event(), start + n) for n in range(50)] for start in range(0, 200, 50)]
    await late.collect(batches[0])
    for batch in batches:
        await first.collect(batch)
    calls, writes = tables.calls, tables.writes

    for batch in batches[1:]:
        await late.collect(batch)

    assert tables.writes == writes
    assert tables.calls - calls == 1 + 3


async def test_large_batch_leaves_the_event_loop_to_others(
    prices: Prices, make_event: MakeEvent, deliver: Deliver
) -> None:
    """Parsing, folding and the making of rows go in slices, however quick the store is."""
    collecting = asyncio.create_task(
        Ledger(MemoryTables(), prices, incarnation).collect([deliver(make_event(), n) for n in range(1000)])
    )
    turns = 0
    while not collecting.done():
        await asyncio.sleep(0)
        turns += 1

    await collecting
    assert turns > 1000 / 100 + 1000 / 25


async def test_partitions_and_incarnations_are_lanes(
    tables: Tables, prices: Prices, make_event: MakeEvent, deliver: Deliver
) -> None:
    """The same sequence number in another partition, or in the hub made again, is another event."""

    async def later() -> str:
        return "2026-11-02T00:00:00Z"

    await Ledger(tables, prices, incarnation).collect([deliver(make_event(), 0, partition) for partition in ("0", "1")])
    await Ledger(tables, prices, later).collect([deliver(make_event(), 0)])

    assert (await sums(tables))["events"] == 3


async def test_unordered_batch_loses_nothing(
    tables: Tables, prices: Prices, make_event: MakeEvent, deliver: Deliver
) -> None:
    """Events are counted though a host hands them over out of order inside a batch."""
    await Ledger(tables, prices, incarnation).collect([deliver(make_event(), n) for n in (3, 1, 2, 0)])

    assert (await sums(tables))["events"] == 4


async def test_context_tier_is_settled_per_request(
    tables: Tables, prices: Prices, make_event: MakeEvent, deliver: Deliver
) -> None:
    """A long prompt and two short ones that add up to more are summed apart."""
    lengths = [300_000, 200_000, 200_000]
    batch = [
        deliver(make_event(model="gpt-5.4", meters=Meters(prompt_tokens=length)), n) for n, length in enumerate(lengths)
    ]

    await Ledger(tables, prices, incarnation).collect(batch)

    rollups = [from_entity(entity) for entity in await rows(tables, ROLLUPS)]
    assert {one.names.context_tier: one.meters[0] for one in rollups} == {"": 400_000, "over-272000": 300_000}


async def test_replayed_event_is_counted_once(
    tables: Tables, prices: Prices, make_event: MakeEvent, deliver: Deliver
) -> None:
    """An event from the outbox whose first publication had worked is found by its row, far outside the ring."""
    event = make_event(id="replayed")
    lost, new = make_event(id="lost", replayed=True), make_event(id="new")
    again = structs.replace(event, replayed=True)
    ledger = Ledger(tables, prices, incarnation)
    await ledger.collect([deliver(event, 0)])
    for start in range(1, 1001, 500):
        await ledger.collect([deliver(make_event(), n) for n in range(start, start + 500)])

    for _ in range(2):
        await ledger.collect([deliver(again, 2000), deliver(lost, 2001), deliver(lost, 2002), deliver(new, 2003)])
        await ledger.collect([deliver(again, 0, "1")])

    assert (await sums(tables))["events"] == 1003


async def test_replayed_event_survives_a_kill_between_rollup_and_detail(
    tables: Tables, prices: Prices, make_event: MakeEvent, deliver: Deliver
) -> None:
    """Rollups come before detail rows, so a detail row never hides an event that was not counted."""
    batch = [deliver(make_event(id="a", replayed=True), 0)]
    killed = Ledger(FailingAt(tables, USAGE), prices, incarnation)

    with pytest.raises(TableUnavailable):
        await killed.collect(batch)
    assert (await sums(tables))["events"] == 1
    await Ledger(tables, prices, incarnation).collect(batch)

    assert (await sums(tables))["events"] == 1
    assert len(await rows(tables, USAGE)) == 1


async def test_stream_that_cannot_be_asked_fails_the_batch(
    tables: Tables, prices: Prices, make_event: MakeEvent, deliver: Deliver
) -> None:
    """Without the stream's incarnation no lane is known: nothing is written, and the batch comes again."""

    async def unknown() -> str:
        raise StreamUnavailable("silent")

    with pytest.raises(StreamUnavailable):
        await Ledger(tables, prices, unknown).collect([deliver(make_event(), 0)])
    assert await rows(tables, ROLLUPS) == []


@pytest.mark.parametrize("table", [ROLLUPS, LANES])
async def test_conflicts_without_end_are_given_up(
    tables: Tables, prices: Prices, make_event: MakeEvent, deliver: Deliver, table: str
) -> None:
    """A row that rivals never let go of is a TableConflict in the end, not a collector that hangs."""
    ledger = Ledger(Contended(tables, table), prices, incarnation, uniform=lambda: 0.0)
    with pytest.raises(TableConflict, match="100 tries"):
        await ledger.collect([deliver(make_event(), 0)])


async def test_longest_names_are_written_within_a_transaction(
    rival_tables: Callable[[], Tables], prices: Prices, make_event: MakeEvent, deliver: Deliver
) -> None:
    """A batch of rollups and detail rows as large as they become is split until every store takes it."""
    tables = Renamed(rival_tables(), f"l{os.urandom(4).hex()}")
    globe = "\N{EARTH GLOBE AMERICAS}"
    most = Meters(**dict.fromkeys(METERS, MOST_METERED))
    names = ("deployment", "model", "model_version", "service_tier", "context_tier", "operation", "backend", "product")
    events = [
        make_event(
            **{name: f"{number % 130}{name:{globe}<250}" for name in names},
            meters=most,
            avoided=most,
            labels={"ticket": globe * 1900},
        )
        for number in range(390)  # three a row: sums of more than 32 bits
    ]

    await Ledger(tables, prices, incarnation).collect([deliver(event, n) for n, event in enumerate(events)])

    assert len(await rows(tables, USAGE)) == 390
    assert (await sums(tables))["events"] == 390


async def test_many_rows_are_written_and_the_cache_stays_bounded(
    tables: Tables, prices: Prices, make_event: MakeEvent, deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More rollups than a transaction or the cache holds are all written, and again from what was read."""
    monkeypatch.setattr(rollup_store, "_MAX_CACHED", 50)
    ledger = Ledger(tables, prices, incarnation)
    for sequence in (0, 1000):
        batch = [deliver(make_event(deployment=f"d{n}"), sequence + n) for n in range(250)]
        await ledger.collect(batch)

    rollups = [from_entity(entity) for entity in await rows(tables, ROLLUPS)]
    assert [one.events for one in rollups] == [2] * 250
    assert len(ledger._rollups._cache) <= 50
