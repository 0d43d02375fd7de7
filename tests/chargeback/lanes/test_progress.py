"""A lane's progress is the same however its numbers are delivered."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from chargeback.lanes.intents import MAX_BYTES, MAX_CALLS, MAX_ROWS, OpenRow, pack, unpack, with_pending
from chargeback.lanes.lanes import MAX_GAPS, Head
from chargeback.lanes.progress import Arrival, LaneState, Step, Stray, advance
from gateway.usage import Intent, Record, UsageEvent, Withdrawal

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def intent(identity: str, time: datetime = NOON, subscription: str = "sub") -> Intent:
    return Intent(
        id=identity,
        time=time,
        subscription=subscription,
        operation="chat/completions",
        deployment="gpt-4o",
        model="gpt-4o",
        backend="b",
        deployment_type="global",
        prompt_tokens=7,
    )


def event(
    identity: str, time: datetime = NOON, *, parent: str = "", attempts: int = 1, latency_ms: int = 0
) -> UsageEvent:
    return UsageEvent(
        id=identity,
        time=time,
        subscription="sub",
        operation="chat/completions",
        deployment="gpt-4o",
        model="gpt-4o",
        backend="b",
        deployment_type="global",
        status=200,
        outcome="completed",
        parent=parent,
        attempts=attempts,
        latency_ms=latency_ms,
    )


def withdrawal(identity: str, time: datetime = NOON) -> Withdrawal:
    return Withdrawal(id=identity, time=time, subscription="sub")


def arrivals(*records: Record | None, first: int = 0, at: datetime = NOON) -> list[Arrival]:
    return [Arrival(number, at, record) for number, record in enumerate(records, first)]


def step_of(before: LaneState, came: Iterable[Arrival]) -> Step:
    step = advance(before, came)
    assert step is not None
    return step


def open_ids(state: LaneState) -> list[str]:
    return [name for row in state.open.values() for name in row.calls]


def test_kinds_are_counted_and_calls_kept_until_they_end() -> None:
    """Each record counts once by its kind; a call is open from its intent to its event or withdrawal."""
    came = arrivals(intent("a"), intent("b"), intent("c"), event("a"), None, withdrawal("b"), event("x", parent="y"))

    step = step_of(LaneState(), came)

    (day,) = step.days
    assert (day.intents, day.usage_events, day.withdrawals, day.dead_letters, day.missing) == (3, 2, 1, 1, 0)
    assert (day.begins, day.first_seq, day.last_seq, day.event_days) == (0, 0, 6, {date(2026, 11, 20): 2})
    assert open_ids(step.state) == ["c"]
    assert step.state.head.since == step.state.head.enqueued_at == step.state.head.last_intent_at == NOON
    assert open_ids(step_of(step.state, arrivals(event("c"), first=7)).state) == []
    assert step.taken_back == ()


def test_numbers_in_the_books_change_nothing() -> None:
    """A batch that was delivered before makes no step, and one that reaches back makes the step of its new part."""
    first = step_of(LaneState(), arrivals(intent("a"), intent("b")))

    assert advance(first.state, arrivals(intent("a"), intent("b"))) is None
    again = step_of(first.state, arrivals(intent("a"), intent("b"), event("a")))
    assert again == step_of(first.state, arrivals(event("a"), first=2))


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[Arrival], list[tuple[int, int]]]:
    """Draw a lane over some days, with gaps, and the slices of it that are delivered, reaching back at will."""
    kinds = st.sampled_from([intent, event, withdrawal, None])
    made = draw(st.lists(st.tuples(kinds, st.integers(0, 5), st.integers(1, 3), st.integers(-9, 30)), max_size=25))
    came, number, clock = [], -1, NOON
    for make, identity, skipped, hours in made:
        number += skipped
        clock += timedelta(hours=hours)
        came.append(Arrival(number, clock, None if make is None else make(str(identity), NOON)))
    slices, done = [], 0
    while done < len(came):
        end = draw(st.integers(done + 1, len(came)))
        slices.append((draw(st.integers(0, done)), end))
        done = end
    return came, slices


@given(deliveries())
def test_any_delivery_leads_to_the_same_state(delivered: tuple[list[Arrival], list[tuple[int, int]]]) -> None:
    """Batches of any size that repeat what came before add up to one batch, and account for every number."""
    came, slices = delivered
    state, written = LaneState(), {}
    for begin, end in slices:
        if (step := advance(state, came[begin:end])) is not None:
            state = step.state
            written.update({day.day: day for day in step.days})

    whole = advance(LaneState(), came)

    if whole is None:
        assert not came
        return
    assert list(written.values()) == list(whole.days)
    assert replace(state.head, ended=b"") == replace(whole.state.head, ended=b"")
    assert sorted(open_ids(state)) == sorted(open_ids(whole.state))
    follows = 0
    for day in whole.days:
        assert (day.begins, day.emitted) == (follows, day.received + day.missing)
        assert day.missing == sum(last - first + 1 for first, last in day.gaps)
        follows = day.last_seq + 1
    assert {number for day in whole.days for first, last in day.gaps for number in range(first, last + 1)} == (
        set(range(follows)) - {arrival.sequence_number for arrival in came}
    )


def test_days_never_go_back() -> None:
    """A number whose broker's clock is behind belongs to the day of the one before."""
    late, early = datetime(2026, 11, 21, 0, 1, tzinfo=UTC), datetime(2026, 11, 20, 23, 59, tzinfo=UTC)
    came = [Arrival(0, early, None), Arrival(1, late, None), Arrival(2, early, None)]

    step = step_of(LaneState(), came)

    assert [(day.day.day, day.begins, day.last_seq) for day in step.days] == [(20, 0, 0), (21, 1, 2)]
    assert [day.day.day for day in step_of(step.state, [Arrival(3, early, None)]).days] == [21]


def test_gaps_are_named_and_bounded() -> None:
    """Each run of missing numbers is named, so is what lay before the lane's first; beyond 100 they are counted."""
    step = step_of(LaneState(), [Arrival(3 * number + 1, NOON, None) for number in range(300)])

    (day,) = step.days
    assert day.gaps[:2] == ((0, 0), (2, 3))
    assert len(day.gaps) == MAX_GAPS
    assert day.missing == 1 + 2 * 299


def test_intent_after_its_end_opens_nothing() -> None:
    """A publisher that lost an acknowledgement may send an intent again when its call is over."""
    first = step_of(LaneState(), arrivals(intent("a"), event("a"), intent("b"), withdrawal("b")))

    assert open_ids(step_of(first.state, arrivals(intent("a"), intent("b"), intent("c"), first=4)).state) == ["c"]
    assert open_ids(step_of(LaneState(), arrivals(event("a"), intent("a"))).state) == []


def test_intent_twice_opens_one_call() -> None:
    """A repeated intent does not make its call young again."""
    first = step_of(LaneState(), arrivals(intent("a")))

    again = step_of(first.state, arrivals(intent("a", NOON + HOUR), first=1))

    assert [call.time for row in again.state.open.values() for call in row.calls.values()] == [NOON]


def test_call_that_ends_while_pending_is_taken_back() -> None:
    """Whoever ends a call that is about to become an orphan is told so."""
    state = step_of(LaneState(), arrivals(intent("a"), intent("b"))).state
    state = replace(state, open={number: with_pending(row, {"a"}) for number, row in state.open.items()})

    step = step_of(state, arrivals(event("a"), event("b"), first=2))

    assert [call.id for call in step.taken_back] == ["a"]
    assert step.strays == ()
    assert open_ids(step.state) == []


def test_ends_without_an_open_call_are_strays() -> None:
    """Only what may have announced itself before is looked for among the orphans."""
    state = LaneState(Head(last_seq=9, since=NOON - HOUR, enqueued_at=NOON, last_intent_at=NOON))
    ends: list[UsageEvent | Withdrawal] = [
        event("long", NOON + HOUR, latency_ms=3_600_000),
        event("after the last intent", NOON + HOUR),
        event("further attempt", parent="p"),
        event("from the cache", attempts=0),
        withdrawal("withdrawn", NOON + HOUR),
    ]

    step = step_of(state, arrivals(*ends, first=10))

    assert step.strays == (
        Stray("long", "sub", NOON, NOON + HOUR, older=False),
        Stray("withdrawn", "sub", NOON, NOON + HOUR, older=False),
    )


def test_call_older_than_its_lane_is_a_stray() -> None:
    """After the hub was made again a call may have announced itself in the one before."""
    step = step_of(LaneState(), arrivals(event("a", NOON - HOUR), event("b", NOON + 2 * HOUR)))

    assert [(stray.id, stray.older) for stray in step.strays] == [("a", True)]


def test_open_calls_fill_rows_that_a_column_holds() -> None:
    """Rows hold at most 1,000 calls and 60 KiB; emptied ones are gone, and room is used again."""
    many = [intent(f"{number:0>36}") for number in range(2 * MAX_CALLS + 1)]
    state = step_of(LaneState(), arrivals(*many)).state
    assert [len(row.calls) for row in state.open.values()] == [MAX_CALLS, MAX_CALLS, 1]
    assert all(len(row.packed) <= MAX_BYTES for row in state.open.values())
    assert [unpack(row.packed) for row in state.open.values()] == [row.calls for row in state.open.values()]

    ends = arrivals(*(event(one.id) for one in many[:MAX_CALLS]), first=5000)
    after = step_of(state, ends).state
    assert list(after.open) == [1, 2]
    assert after.open[1] is state.open[1]
    assert list(step_of(after, arrivals(intent("new"), first=9000)).state.open) == [0, 1, 2]


def test_rows_beyond_the_bound_are_kept_until_they_empty() -> None:
    """A release that keeps fewer rows loses no call of those that an earlier one wrote."""
    state = step_of(LaneState(), arrivals(intent("a"), intent("b"))).state
    state = replace(state, open={MAX_ROWS + 3: state.open[0]})

    after = step_of(state, arrivals(event("a"), first=2)).state

    assert open_ids(after) == ["b"]
    assert list(after.open) == [MAX_ROWS + 3]


def test_calls_that_find_no_room_are_counted() -> None:
    """A lane holds 8 rows; further calls are not watched, and the day says how many."""
    wide = [intent(f"{number:0>100}", subscription=f"{number:0>100}") for number in range(MAX_ROWS * 400)]

    step = step_of(LaneState(), arrivals(*wide))

    assert max(len(row.packed) for row in step.state.open.values()) <= MAX_BYTES
    assert len(step.state.open) == MAX_ROWS
    assert step.days[-1].untracked_intents == len(wide) - len(open_ids(step.state)) > 0
    assert step.days[-1].intents == len(wide)


@given(
    st.lists(st.tuples(st.text(max_size=20), st.integers(0, 10**12), st.booleans(), st.text(max_size=9)), max_size=9)
)
def test_packed_calls_are_read_back(made: list[tuple[str, int, bool, str]]) -> None:
    """Whatever ids and names hold, a row is read as it was written."""
    calls = {}
    for identity, tokens, pending, subscription in made:
        state = step_of(LaneState(), arrivals(intent(identity, subscription=subscription))).state
        (call,) = state.open[0].calls.values()
        calls[identity] = call._replace(prompt_tokens=tokens, pending=pending)

    assert unpack(pack(calls)) == calls
    assert with_pending(OpenRow(calls, b""), set(calls)).calls == {
        name: call._replace(pending=True) for name, call in calls.items()
    }


def test_events_are_counted_by_their_own_day() -> None:
    """An event of yesterday that comes today counts for today's numbers and yesterday's use."""
    came = arrivals(event("a", NOON - 24 * HOUR), event("b"), event("c", NOON - 24 * HOUR))

    (day,) = step_of(LaneState(), came).days

    assert day.event_days == Counter({date(2026, 11, 19): 2, date(2026, 11, 20): 1})
