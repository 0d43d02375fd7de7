"""Which calls become orphans, when, and what brings them back."""

import logging
import os
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from chargeback.lanes.lanes import LANES
from chargeback.orphans.orphans import ORPHANS
from chargeback.prices import Prices
from chargeback.statements.statements import Statements
from gateway.usage import Meters, Withdrawal, encode
from hosting.services.charges import RollupCharges
from seams.events import ReceivedEvent, StreamUnavailable
from seams.tables import Tables, TableUnavailable
from tests.chargeback.orphan_desk import AFTER, NOON, Desk, event, intent
from tests.chargeback.staging import Contended, FailingAt, Renamed, rows
from tests.gateway.memory_tables import MemoryTables


@pytest.fixture
def desk(prices: Prices) -> Desk:
    return Desk(MemoryTables(), prices)


@pytest.fixture
def bare(prices: Prices) -> Desk:
    """Without detail rows, which would tell of events that came in another way."""
    return Desk(MemoryTables(), prices, detail_rows=False)


async def test_call_without_an_end_is_an_estimated_line(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """After its time it counts as one estimated request with its prompt, priced, on its day; and the log says so."""
    await desk.collect(intent("a"), intent("b"), event("b"))
    desk.later(AFTER - timedelta(seconds=1))
    assert await desk.sweep() == 0

    desk.later(timedelta(seconds=1))
    with caplog.at_level(logging.WARNING):
        assert await desk.sweep() == 1
    assert await desk.sweep() == 0

    (line,) = (await desk.statement()).lines
    assert (line.day, line.deployment, line.model) == (date(2026, 11, 20), "chat", "gpt-4o")
    assert (line.requests, line.estimated_requests, line.orphaned_requests) == (2, 1, 1)
    assert line.prompt_tokens == 1900
    assert Decimal(line.amount) == Decimal(1900) * Decimal("2.5") / 10**6 + Decimal(10) * 10 / 10**6
    assert [record.message for record in caplog.records] == [
        "Calls without a usage event that are now on statements as estimates: 1"
    ]
    assert not [entity for entity in await rows(desk.tables, LANES) if entity.row.startswith("open|")]


async def test_orphans_count_in_budgets(desk: Desk) -> None:
    """What budgets begin with after a start is what the statement says."""
    await desk.collect(intent("a"), event("b"))
    desk.later(2 * AFTER)
    await desk.sweep()

    charges = RollupCharges(desk.tables, desk.prices, desk.clock)

    tokens, amount = await charges.used("s", None, date(2026, 11, 1))
    assert tokens == 1910
    assert amount == Decimal((await desk.statement()).total)
    assert await charges.used("s", None, date(2026, 11, 21)) == (0, Decimal(0))


async def test_orphan_without_a_price_is_shown_as_unpriced(desk: Desk) -> None:
    """An estimate of a model that nobody knows adds nothing to the total, and says so."""
    await desk.collect(intent("a", model="no-such-model"))
    desk.later(AFTER)
    await desk.sweep()

    statement = await desk.statement()
    assert [(one.model, one.requests, one.orphaned_requests) for one in statement.unpriced] == [("no-such-model", 1, 1)]


async def test_orphan_of_a_subscription_that_is_gone_is_unattributed(desk: Desk) -> None:
    """An estimate is on the line of what nobody has, although its subscription used nothing else."""
    await desk.collect(intent("a", subscription="gone"))
    desk.later(AFTER)
    await desk.sweep()

    async def nobody(name: str) -> bool:
        return False

    assert (await Statements(desk.tables, desk.prices, nobody).month("unattributed", "2026-11")).requests == 1


async def test_long_prompt_is_billed_in_its_tier(desk: Desk) -> None:
    """An estimate beyond the length where a price doubles is priced there."""
    await desk.collect(intent("short", model="gpt-5.4"), intent("long", model="gpt-5.4", prompt_tokens=300_000))
    desk.later(AFTER)
    await desk.sweep()

    standing = [entity.values for entity in await rows(desk.tables, ORPHANS) if entity.row.startswith("orphan|")]
    assert {one["id"]: one["context_tier"] for one in standing} == {"short": "", "long": "over-272000"}


@pytest.mark.parametrize("detail_rows", [True, False])
async def test_late_event_takes_the_place_of_its_orphan(prices: Prices, detail_rows: bool) -> None:
    """An event that comes after the sweep counts, and the estimate does not any more; a repetition changes nothing."""
    desk = Desk(MemoryTables(), prices, detail_rows=detail_rows)
    await desk.collect(intent("a"))
    desk.later(AFTER)
    await desk.sweep()
    assert await desk.requests() == (1, 1)

    await desk.collect(event("a", ended=NOON + AFTER))
    assert await desk.requests() == (1, 0)
    await desk.collect(event("a", ended=NOON + AFTER))
    await desk.sweep()
    assert await desk.requests() == (1, 0)


async def test_late_withdrawal_takes_its_orphan_back(bare: Desk) -> None:
    """A call that no backend answered costs nothing, however late that is told."""
    await bare.collect(intent("a"))
    bare.later(AFTER)
    await bare.sweep()

    await bare.collect(Withdrawal(id="a", time=NOON + timedelta(minutes=4), subscription="s"))

    assert await bare.requests() == (0, 0)


async def test_orphan_of_last_month_is_found(bare: Desk) -> None:
    """A call that began in one month and ended in the next is taken back where it was billed."""
    bare.clock.at = began = datetime(2026, 10, 31, 23, 59, 59, 999_900, tzinfo=UTC)
    await bare.collect(intent("a", time=began))
    bare.later(AFTER)
    await bare.sweep()
    assert (await bare.statement("2026-10")).requests == 1

    # Durations are whole milliseconds, so that the beginning looks like the month after.
    await bare.collect(event("a", began=began, ended=began + timedelta(milliseconds=0.9)))

    assert (await bare.statement("2026-10")).requests == 0
    assert await bare.requests() == (1, 0)


async def test_collector_that_lags_makes_no_orphans(desk: Desk) -> None:
    """While the hub holds what was not read yet, nobody knows what is missing."""
    await desk.collect(intent("a"))
    desk.later(2 * AFTER)
    desk.end = 1
    assert await desk.sweep() == 0

    desk.end = 0
    assert await desk.sweep() == 1


async def test_what_was_read_past_is_orphaned_though_more_has_come(desk: Desk) -> None:
    """Once a later event was read, a busy hub that is never read to its end keeps no orphan back."""
    await desk.collect(intent("a"), intent("b", time=NOON + timedelta(seconds=1)))
    desk.later(AFTER)
    await desk.collect(event("c", ended=desk.clock.at))
    desk.end = 100
    desk.later(AFTER)

    assert await desk.sweep() == 1


async def test_hub_is_asked_only_where_it_matters(desk: Desk) -> None:
    """A sweep that finds nothing due asks nobody; one that cannot find out where the hub ends makes no orphans."""
    await desk.collect(intent("a"))
    await desk.sweep()
    assert desk.questions == 0

    desk.later(AFTER)
    desk.end = None
    with pytest.raises(StreamUnavailable):
        await desk.sweep()
    assert await desk.requests() == (0, 0)


async def test_hub_that_is_gone_keeps_nothing_back(bare: Desk) -> None:
    """Calls of a hub that was made again become orphans, and an event in the new one takes them back."""
    await bare.collect(intent("a"), intent("b"))
    bare.later(AFTER)
    bare.hub, bare.log, bare.end = "made again", [], 100

    assert await bare.sweep() == 2
    await bare.collect(event("a", ended=NOON + AFTER))

    assert await bare.requests() == (2, 1)


@pytest.mark.parametrize("detail_rows", [True, False])
async def test_end_in_another_lane_ends_the_call(prices: Prices, detail_rows: bool) -> None:
    """Calls that end in the hub made again do not become orphans of the one before, whether billed or withdrawn."""
    desk = Desk(MemoryTables(), prices, detail_rows=detail_rows)
    await desk.collect(intent("a"), intent("b"))
    desk.hub, desk.log = "made again", []
    await desk.collect(event("a"), Withdrawal(id="b", time=NOON, subscription="s"))
    desk.later(AFTER)

    assert await desk.sweep() == 0
    assert await desk.requests() == (1, 0)


async def test_event_before_its_intent_is_found_by_its_row(desk: Desk) -> None:
    """An intent that a publisher repeats long after the end of its call makes no orphan, if detail rows are kept."""
    await desk.collect(intent("a"), event("a"))
    await desk.collect(*(event(f"other-{n}") for n in range(600)))
    await desk.collect(intent("a"))
    desk.later(AFTER)

    assert await desk.sweep() == 0


async def test_lane_that_is_new_writes_nothing_ahead_without_intents(bare: Desk) -> None:
    """Where no call ever announced itself, the first events of a lane cost no row among the orphans."""
    await bare.collect(event("a"))
    bare.hub, bare.log = "made again", []
    await bare.collect(event("b"))

    assert await rows(bare.tables, ORPHANS) == []


@pytest.mark.parametrize("table", [ORPHANS, LANES])
async def test_sweep_that_was_killed_is_taken_up(bare: Desk, table: str) -> None:
    """Whatever a sweep could not write any more, the next one writes: each orphan once."""
    await bare.collect(intent("a"), intent("b"))
    bare.later(AFTER)
    with pytest.raises(TableUnavailable):
        await bare.sweep(FailingAt(bare.tables, table))
    assert await bare.requests() == (0, 0)

    assert await bare.sweep() == 2
    assert await bare.requests() == (2, 2)


async def test_call_that_ends_between_two_writes_of_the_sweep_is_taken_back(bare: Desk) -> None:
    """The collector leaves word for a sweep that has marked a call and has not inserted it yet."""
    await bare.collect(intent("a"))
    bare.later(AFTER)
    with pytest.raises(TableUnavailable):
        await bare.sweep(FailingAt(bare.tables, ORPHANS))

    await bare.collect(event("a", ended=NOON + AFTER))

    assert await bare.sweep() == 0
    assert await bare.requests() == (1, 0)
    assert [entity.row for entity in await rows(bare.tables, ORPHANS)] == ["decided|a"]


async def test_stores_agree_on_the_way_of_a_call(rival_tables: Callable[[], Tables], prices: Prices) -> None:
    """From open over pending to orphan and back, each kind of storage does the same."""
    desk = Desk(Renamed(rival_tables(), f"s{os.urandom(4).hex()}"), prices, detail_rows=False)
    await desk.collect(*(intent(f"call-{n}") for n in range(5)))
    desk.later(AFTER)
    with pytest.raises(TableUnavailable):
        await desk.sweep(FailingAt(desk.tables, ORPHANS))
    await desk.collect(event("call-0", ended=NOON + AFTER), intent("young", time=NOON + AFTER))
    assert await desk.sweep() == 4
    assert await desk.requests() == (5, 4)

    await desk.collect(*(event(f"call-{n}", ended=NOON + AFTER) for n in range(1, 4)), event("young"))

    assert await desk.requests() == (6, 1)
    assert not [entity for entity in await rows(desk.tables, LANES) if entity.row.startswith("open|")]


async def test_collector_killed_after_it_left_word_is_repeated(bare: Desk) -> None:
    """Redelivered, the end of a pending call does the same once more."""
    await bare.collect(intent("a"))
    bare.later(AFTER)
    with pytest.raises(TableUnavailable):
        await bare.sweep(FailingAt(bare.tables, ORPHANS))
    end = ReceivedEvent(encode(event("a", ended=NOON + AFTER)), "0", 1, bare.clock.at)
    with pytest.raises(TableUnavailable):
        await bare.ledger(FailingAt(bare.tables, LANES)).collect([end])
    bare.end = 1

    assert await bare.sweep() == 0
    await bare.ledger().collect([end])

    assert await bare.requests() == (1, 0)


async def test_further_attempt_does_not_end_its_call(bare: Desk) -> None:
    """The event of a broken attempt is billed by itself; the call that it belonged to is still open."""
    await bare.collect(intent("a"), event("a-1", parent="a"))
    bare.later(AFTER)

    assert await bare.sweep() == 1


async def test_answer_out_of_the_cache_ends_its_call(bare: Desk) -> None:
    """A call that announced itself and was then answered out of the cache leaves no orphan."""
    await bare.collect(intent("a"), event("a", attempts=0, outcome="cached", meters=Meters()))
    bare.later(AFTER)

    assert await bare.sweep() == 0


async def test_lane_on_which_rivals_are_always_first_is_left(bare: Desk) -> None:
    """A sweep gives a busy lane up until the next one, and is no error."""
    await bare.collect(intent("a"))
    bare.later(AFTER)

    assert await bare.sweep(Contended(bare.tables, LANES)) == 0
    assert await bare.sweep() == 1
