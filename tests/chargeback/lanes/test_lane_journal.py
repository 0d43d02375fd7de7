"""The lane journal in the tables: one transaction a batch, whoever else is at it."""

import os
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from chargeback.lanes import lane_journal, lanes
from chargeback.lanes.lane_journal import LaneJournal, known_lanes, read_head
from chargeback.lanes.lanes import LANES, Lane, LaneDay
from chargeback.lanes.progress import Arrival
from chargeback.orphans.orphans import Orphans
from gateway.usage import Intent, Record, UsageEvent
from seams.clock import SystemClock
from seams.tables import TableConflict, Tables
from tests.chargeback.staging import MakeEvent, Renamed, rows
from tests.gateway.memory_tables import MemoryTables

LANE = Lane("hub", "0")
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)


async def read_day(tables: Tables, lane: Lane, day: date) -> LaneDay | None:
    entity = await (await tables.table(LANES)).get(lane.key(), lanes.day_row(day))
    return None if entity is None else lanes.day_of_entity(entity)


def journal(tables: Tables) -> LaneJournal:
    return LaneJournal(tables, Orphans(tables), SystemClock(), orphan_after=timedelta(hours=1))


async def enter(entries: LaneJournal, lane: Lane, arrivals: Sequence[Arrival]) -> None:
    await entries.enter(await entries.begin(lane, arrivals[0].enqueued_at.date()), arrivals)


def intent(identity: str, **changes: Any) -> Intent:
    names: dict[str, Any] = {
        "subscription": "s",
        "operation": "chat/completions",
        "deployment": "gpt-4o",
        "model": "gpt-4o",
        "backend": "b",
        "region": "",
    }
    return Intent(id=identity, time=NOON, deployment_type="global", prompt_tokens=7, **names | changes)


def came(*records: Record | None, first: int = 0, at: datetime = NOON) -> list[Arrival]:
    return [Arrival(number, at, record) for number, record in enumerate(records, first)]


@pytest.fixture
def own_tables(rival_tables: Callable[[], Tables]) -> Tables:
    return Renamed(rival_tables(), f"j{os.urandom(4).hex()}")


async def test_rows_of_open_calls_come_and_go(own_tables: Tables, make_event: MakeEvent) -> None:
    """An open call has a row until it ends; a call that begins and ends in one batch never has one."""
    await enter(journal(own_tables), LANE, came(intent("a"), intent("b"), make_event(id="b")))
    assert [entity.row for entity in await rows(own_tables, LANES)] == [
        "day|20261120",
        "head",
        "open|0000",
        "hub.0",
    ]

    await enter(journal(own_tables), LANE, came(make_event(id="a"), first=3))

    assert "open|0000" not in [entity.row for entity in await rows(own_tables, LANES)]
    await enter(journal(own_tables), LANE, came(intent("c"), first=4))
    day = await read_day(own_tables, LANE, date(2026, 11, 20))
    assert day is not None
    assert (day.intents, day.usage_events, day.last_seq) == (3, 2, 4)


async def test_lanes_are_listed_and_read(own_tables: Tables) -> None:
    """Whoever asks finds every lane, its head and its days; what is not there is None."""
    entries = journal(own_tables)
    await enter(entries, LANE, came(None))
    await enter(entries, Lane("hub", "1"), came(None, None))

    assert sorted(await known_lanes(own_tables)) == [LANE, Lane("hub", "1")]
    head = await read_head(own_tables, Lane("hub", "1"))
    assert head is not None
    assert head.last_seq == 1
    assert await read_head(own_tables, Lane("hub", "2")) is None
    assert await read_day(own_tables, LANE, date(2026, 11, 19)) is None


async def test_hub_made_again_has_lanes_of_its_own(own_tables: Tables, make_event: MakeEvent) -> None:
    """Numbers begin anew, and both incarnations account for all of theirs."""
    entries = journal(own_tables)
    await enter(entries, Lane("before", "0"), came(make_event(), make_event()))
    await enter(entries, Lane("after", "0"), came(make_event()))

    for lane, last in ((Lane("before", "0"), 1), (Lane("after", "0"), 0)):
        day = await read_day(own_tables, lane, date(2026, 11, 20))
        assert day is not None
        assert (day.begins, day.last_seq, day.missing) == (0, last, 0)


async def test_rivals_for_a_lane_enter_each_number_once(own_tables: Tables, make_event: MakeEvent) -> None:
    """A collector whose view is old conflicts, begins again, and finds in the books what its rival has entered."""
    records: list[UsageEvent] = [make_event() for _ in range(6)]
    one, other = journal(own_tables), journal(own_tables)
    await enter(one, LANE, came(*records[:2]))
    await enter(other, LANE, came(*records[:4]))
    with pytest.raises(TableConflict):
        await enter(one, LANE, came(*records[:6]))
    assert (await one.begin(LANE, NOON.date())).last_seq == 3
    await enter(one, LANE, came(*records[:6]))
    with pytest.raises(TableConflict):
        await enter(other, LANE, came(*records[4:6], make_event(), first=4))
    await enter(other, LANE, came(*records[2:6], first=2))

    day = await read_day(own_tables, LANE, date(2026, 11, 20))
    assert day is not None
    assert (day.usage_events, day.emitted) == (6, 6)


async def test_day_that_began_in_another_batch_goes_on(own_tables: Tables) -> None:
    """A collector that knows nothing of a lane reads the day that its batch goes on, and leaves the ones before."""
    await enter(journal(own_tables), LANE, came(None, None))
    await enter(journal(own_tables), LANE, came(None, first=2, at=NOON + DAY))
    await enter(journal(own_tables), LANE, came(None, first=3, at=NOON + DAY))
    await enter(journal(own_tables), LANE, came(None, first=4, at=NOON))

    found = [await read_day(own_tables, LANE, (NOON + n * DAY).date()) for n in range(2)]
    assert [(day.begins, day.last_seq) for day in found if day] == [(0, 1), (2, 4)]


async def test_batch_of_many_days_is_several_transactions(own_tables: Tables) -> None:
    """A collector that was away for months catches up within the limits of a transaction."""
    batch = [Arrival(number, NOON + number * DAY, None) for number in range(150)]

    await enter(journal(own_tables), LANE, batch)

    days = [await read_day(own_tables, LANE, (NOON + number * DAY).date()) for number in range(150)]
    assert [day and day.received for day in days] == [1] * 150


async def test_fullest_step_is_one_transaction(own_tables: Tables, make_event: MakeEvent) -> None:
    """The most open calls of the longest names, and days full of gaps, fit into one transaction on every store."""
    long = {name: f"{name:\N{SNOWMAN}<250}" for name in ("operation", "deployment", "model", "backend", "region")}
    many = [intent(f"{number:0>100}", subscription=f"{number % 9}", **long) for number in range(5000)]
    opening = [Arrival(number, NOON, one) for number, one in enumerate(many)]
    gaps = [
        Arrival(2**60 + 2 * number, NOON + number // 366 * DAY, make_event(time=NOON - number % 366 * DAY))
        for number in range(14 * 366)
    ]

    await enter(journal(own_tables), LANE, [*opening, *gaps])

    head = await read_head(own_tables, LANE)
    assert head is not None
    assert head.last_seq == gaps[-1].sequence_number
    opened = [entity for entity in await rows(own_tables, LANES) if entity.row.startswith("open|")]
    assert len(opened) == 8


async def test_memory_of_lanes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many lanes a process meets, it remembers a few."""
    monkeypatch.setattr(lane_journal, "_MAX_CACHED", 3)
    entries = journal(MemoryTables())
    for number in range(10):
        await enter(entries, Lane("hub", str(number)), came(None))

    assert len(entries._cache) == 3
