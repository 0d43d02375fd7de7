"""The fold counts each event once, however it is delivered."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from chargeback.ledger import rollups
from chargeback.ledger.rollups import METERS, Names, Numbered, Rollup, fold
from gateway.usage import Meters, UsageEvent
from seams.tables import Value, check_key
from tests.gateway.event import an_event

type Fold = Callable[[Rollup, Sequence[Numbered]], Rollup]

NAMES = Names("sub", date(2026, 11, 20), "gpt-4o", "gpt-4o", "2024-11-20", "global", "", "", "1.0")


def event(identity: str, tokens: int = 1, parent: str = "", **more: int) -> UsageEvent:
    return an_event(
        identity,
        time=datetime(2026, 11, 20, tzinfo=UTC),
        subscription="sub",
        model_version="2024-11-20",
        parent=parent,
        meters=Meters(prompt_tokens=tokens, **more),
    )


def without_duplicates_check(rollup: Rollup, numbered: Sequence[Numbered]) -> Rollup:
    """The control: adds whatever it is given."""
    tokens = sum(one.meters.prompt_tokens for _, one in numbered)
    return replace(rollup, events=rollup.events + len(numbered), meters=(rollup.meters[0] + tokens, *rollup.meters[1:]))


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[list[Numbered]], list[tuple[int, int, int]]]:
    """Draw lanes of events with producers' duplicates, and slices (lane, begin, end) of them as they are delivered.

    Each lane's slices begin at or before the end of what was delivered, as checkpoints make them.
    """
    lanes: list[list[Numbered]] = []
    for lane in range(draw(st.integers(1, 3))):
        identities = draw(st.lists(st.integers(0, 15), max_size=20))
        tokens = [event(f"{lane}-{identity}", identity + 1) for identity in identities]
        lanes.append(list(enumerate(tokens, start=draw(st.integers(0, 5)))))
    done = [0] * len(lanes)
    slices = []
    for _ in range(draw(st.integers(0, 12))):
        lane = draw(st.integers(0, len(lanes) - 1))
        begin = draw(st.integers(0, done[lane]))
        end = draw(st.integers(begin, len(lanes[lane])))
        done[lane] = max(done[lane], end)
        slices.append((lane, begin, end))
    slices += [(lane, begin, len(lanes[lane])) for lane, begin in enumerate(done)]
    return lanes, slices


def sums_after(lanes: list[list[Numbered]], slices: list[tuple[int, int, int]], add: Fold) -> tuple[int, int]:
    sums = [Rollup(NAMES._replace(lane=f"1.{lane}")) for lane in range(len(lanes))]
    for lane, begin, end in slices:
        sums[lane] = add(sums[lane], lanes[lane][begin:end])
    return sum(one.events for one in sums), sum(one.meters[0] for one in sums)


@given(deliveries())
def test_any_delivery_gives_the_sums_of_distinct_events(
    delivered: tuple[list[list[Numbered]], list[tuple[int, int, int]]],
) -> None:
    """Redelivery, producers' duplicates and interleaved lanes change no sum."""
    lanes, slices = delivered
    distinct = {one.id: one for lane in lanes for _, one in lane}.values()

    assert sums_after(lanes, slices, fold) == (len(distinct), sum(one.meters.prompt_tokens for one in distinct))


def test_control_without_duplicates_check_is_seen_to_fail() -> None:
    """The same comparison finds a fold that does not look for duplicates."""
    lanes = [list(enumerate([event("a"), event("b"), event("a")]))]

    assert sums_after(lanes, [(0, 0, 3)], fold) == (2, 2)
    assert sums_after(lanes, [(0, 0, 3)], without_duplicates_check) == (3, 3)
    assert sums_after(lanes, [(0, 0, 1), (0, 0, 2)], without_duplicates_check) == (3, 3)


def test_all_meters_are_summed() -> None:
    """Every meter and every avoided one adds up under its own name."""
    full = Meters(**{meter: place + 1 for place, meter in enumerate(METERS)})
    events = [(n, structs.replace(event(str(n)), meters=full, avoided=full)) for n in range(3)]

    result = fold(Rollup(NAMES), events)

    assert result.meters == result.avoided == tuple(3 * (place + 1) for place in range(len(METERS)))
    assert result.usage() == Meters(**{meter: 3 * (place + 1) for place, meter in enumerate(METERS)})


def test_further_attempts_are_events_but_no_requests() -> None:
    """An attempt billed beside its request's own event adds tokens and an event, not a request."""
    result = fold(Rollup(NAMES), [(0, event("a", 5)), (1, event("b", 7, parent="a"))])

    assert (result.events, result.requests, result.meters[0]) == (2, 1, 12)


def test_estimated_requests_are_counted() -> None:
    """Requests whose counts are estimates are told apart."""
    guess = structs.replace(event("a"), estimated=True)

    result = fold(Rollup(NAMES), [(0, guess), (1, event("b"))])

    assert (result.requests, result.estimated_requests) == (2, 1)


def test_ring_remembers_the_last_512_ids() -> None:
    """A duplicate 512 events later is found, and the ring never grows beyond its bytes."""
    result = Rollup(NAMES)
    for n in range(2000):
        result = fold(result, [(n, event(str(n)))])

    assert len(result.ring) == 4096
    assert fold(result, [(2000, event("1488"))]).events == 2000
    assert fold(result, [(2000, event("1487"))]).events == 2001


@pytest.mark.parametrize("seed", range(20))
def test_ring_finds_whole_marks_only(seed: int) -> None:
    """Eight bytes that happen to lie across two marks are no duplicate."""
    dice = random.Random(seed)
    ring = bytearray(dice.randbytes(64))

    assert not rollups.holds(ring, bytes(ring[3:11]))
    assert rollups.holds(ring, bytes(ring[8:16]))
    assert rollups.holds(bytearray(8 + 4) + bytes(ring[:8]) + bytearray(4) + ring[:8], bytes(ring[:8]))


def test_row_round_trip() -> None:
    """A rollup is read back as it was written, whatever its names hold."""
    names = Names(
        "süb/1", date(2026, 1, 2), "a|b", "gpt?#", "1", "datazone", "priority", "over-1", "2026-01-01T00:00:00.3"
    )
    rollup = fold(Rollup(names), [(2**40, event("a", 2**35, cached_tokens=3))])

    entity = rollups.to_entity(rollup, "etag")

    assert rollups.from_entity(entity) == rollup
    assert entity.partition == "s=C3=BCb=2F1|202601"
    assert entity.row.startswith("20260102|a=7Cb|gpt=3F=23|1|datazone|priority|over-1|")
    assert "cache_write_tokens" not in entity.values


@given(st.tuples(*[st.text(max_size=256)] * 8), st.tuples(*[st.text(max_size=256)] * 8))
def test_keys_are_legal_and_distinct(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    """Any names make keys that a store takes, and different names make different keys."""
    keys = []
    for texts in (one, other):
        names = Names(texts[0], date(2026, 11, 20), *texts[1:])
        check_key(names.partition())
        check_key(names.row())
        keys.append((names.partition(), names.row()))

    assert (keys[0] == keys[1]) == (one == other)


def test_names_that_differ_at_their_ends_make_different_rows() -> None:
    """Names too long for a key are told apart by what was cut off."""
    rows = {NAMES._replace(model="ä" * 255 + last, lane="x" * 300).row() for last in "abc"}

    assert len(rows) == 3
    assert max(map(len, rows)) <= 254


def test_names_of_an_event() -> None:
    """The day is UTC's, and an event's own context tier goes before the one worked out."""
    late = structs.replace(event("a", 300_000), time=datetime(2026, 11, 21, 1, tzinfo=timezone(timedelta(hours=2))))
    asked: Counter[tuple[str, str, date, int]] = Counter()

    def tier(model: str, model_version: str, day: date, prompt_tokens: int) -> str:
        asked[model, model_version, day, prompt_tokens] += 1
        return "over-1"

    assert rollups.names_of(late, "1.0", tier) == NAMES._replace(context_tier="over-1")
    assert asked == {("gpt-4o", "2024-11-20", date(2026, 11, 20), 300_000): 1}
    own = structs.replace(late, context_tier="over-2")
    assert rollups.names_of(own, "1.0", tier).context_tier == "over-2"


@pytest.mark.parametrize("columns", [{"ring": "text"}, {"events": "many"}])
def test_row_that_somebody_changed_is_an_error(columns: dict[str, Value]) -> None:
    """A column of another type stops the collector instead of being summed as something else."""
    entity = rollups.to_entity(Rollup(NAMES), "etag")

    with pytest.raises(TypeError, match="a column that holds"):
        rollups.from_entity(replace(entity, values={**entity.values, **columns}))
