"""The audit of a day: books that agree are proved, and any single thing that is off is found."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from chargeback.closing.audit import Evidence, audit
from chargeback.closing.books import Counts, LaneBooks
from chargeback.lanes.lanes import Head, Lane, LaneDay

DAY = date(2026, 11, 20)
HUB = "hub"

few = st.integers(min_value=0, max_value=5)


@st.composite
def lane_books(draw: st.DrawFn) -> tuple[LaneBooks, dict[str, int], int, int]:
    """Return a lane that was read to its end, the day's events by subscription, its duplicates and dead letters."""
    begins, events, intents, withdrawals, dead, late = (draw(few) for _ in range(6))
    received = events + intents + withdrawals + dead
    duplicates = draw(st.integers(min_value=0, max_value=events + late))
    count = events + late - duplicates
    shares = Counter(draw(st.lists(st.sampled_from("abc"), min_size=count, max_size=count)))
    days = []
    if received:
        days.append(
            LaneDay(
                day=DAY,
                begins=begins,
                first_seq=begins,
                last_seq=begins + received - 1,
                usage_events=events,
                intents=intents,
                withdrawals=withdrawals,
                dead_letters=dead,
                event_days={DAY: events} if events else {},
            )
        )
    last = begins + received - 1
    if late:
        following = LaneDay(
            day=DAY + timedelta(days=1),
            begins=last + 1,
            first_seq=last + 1,
            last_seq=last + late,
            usage_events=late,
            event_days={DAY: late},
        )
        days.append(following)
        last += late
    head = Head(last_seq=last, enqueued_at=datetime(2026, 11, 21 if late else 20, 0, 1, tzinfo=UTC))
    return LaneBooks(head, tuple(days)), dict(+shares), duplicates, dead


@st.composite
def evidence(draw: st.DrawFn) -> Evidence:
    lanes: dict[Lane, LaneBooks] = {}
    shares: dict[tuple[str, str], int] = {}
    duplicates: dict[str, int] = {}
    dead: dict[str, int] = {}
    for number in range(draw(st.integers(min_value=1, max_value=3))):
        lane = Lane(HUB, str(number))
        books, by_subscription, twice, letters = draw(lane_books())
        if not books.days:
            continue
        lanes[lane] = books
        shares |= {(subscription, lane.name): count for subscription, count in by_subscription.items()}
        duplicates[lane.name] = twice
        dead[lane.name] = letters
    ends = {lane.partition: books.head.last_seq for lane, books in lanes.items()}
    return Evidence(DAY, HUB, ends, lanes, Counts(shares, duplicates, dict(shares), dead))


@given(evidence())
def test_books_that_agree_are_proved(found: Evidence) -> None:
    """Whatever the lanes hold, equal books make a proof whose totals are equal, too."""
    proof = audit(found, over=True)
    assert (proof.status, proof.findings) == ("proved", [])
    totals = proof.totals
    assert (
        totals.emitted
        == totals.received
        == sum((totals.usage_events, totals.intents, totals.withdrawals, totals.dead_letters))
    )
    assert totals.day_events == totals.summed + totals.duplicates
    assert totals.summed == totals.stored
    assert audit(found, over=False).status == "open"


@given(evidence(), st.sampled_from(["summed", "stored", "duplicates", "dead"]), few)
def test_a_count_that_is_off_is_found(found: Evidence, name: str, place: int) -> None:
    """One more in any count of the tables breaks the day, and the finding names its lane."""
    counts: Mapping[Any, int] = getattr(found.counts, name)
    if not counts:
        return
    wrong = list(counts)[place % len(counts)]
    changed: dict[str, Any] = {name: {**counts, wrong: counts[wrong] + 1}}
    lane = wrong if isinstance(wrong, str) else wrong[1]

    proof = audit(replace(found, counts=replace(found.counts, **changed)), over=True)

    assert proof.status == "broken"
    assert all(f"partition {lane.rpartition('.')[2]} of {HUB}: " in text for text in proof.findings)


@given(evidence(), few, st.integers(min_value=1, max_value=9))
def test_a_lane_that_is_behind_keeps_the_day_open(found: Evidence, place: int, behind: int) -> None:
    """A partition that holds more than was read leaves the day open, unless a later day was begun in it."""
    if not found.lanes:
        return
    lane = list(found.lanes)[place % len(found.lanes)]
    ends = {**found.ends, lane.partition: found.ends[lane.partition] + behind}
    proof = audit(replace(found, ends=ends), over=True)
    if found.lanes[lane].head.enqueued_at.date() > DAY:
        assert proof.status == "proved"
    else:
        assert proof.status == "open"
        assert [one.lag for one in proof.lanes if one.lane == lane.name] == [behind]
