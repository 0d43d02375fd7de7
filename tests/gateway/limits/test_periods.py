"""Calendar periods in UTC."""

from dataclasses import dataclass
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.catalog.catalog import Period
from gateway.limits.periods import EPOCH_DAY, WALL_SECONDS, Calendar, end, starts


def days(of: date) -> tuple[date, date, date]:
    """Return the first days of the periods that this day lies in."""
    day, week, month = starts(of.toordinal() - EPOCH_DAY)
    return date.fromordinal(day), date.fromordinal(week), date.fromordinal(month)


def test_where_periods_begin() -> None:
    """A week begins on Monday, in another month or year if need be; a month on its first."""
    assert days(date(2026, 11, 21)) == (date(2026, 11, 21), date(2026, 11, 16), date(2026, 11, 1))
    assert days(date(2027, 1, 1)) == (date(2027, 1, 1), date(2026, 12, 28), date(2027, 1, 1))
    assert days(date(2028, 2, 29)) == (date(2028, 2, 29), date(2028, 2, 28), date(2028, 2, 1))


@pytest.mark.parametrize(
    ("per", "after"),
    [
        ("day", datetime(2026, 12, 2, tzinfo=UTC)),
        ("week", datetime(2026, 12, 8, tzinfo=UTC)),
        ("month", datetime(2027, 1, 1, tzinfo=UTC)),
    ],
)
def test_where_they_end(per: Period, after: datetime) -> None:
    """A period is over at midnight, UTC."""
    assert end(per, date(2026, 12, 1).toordinal()) == after


@given(st.dates(date(1970, 1, 1), date(2200, 1, 1)), st.sampled_from(["day", "week", "month"]))
def test_every_day_is_inside_its_periods(day: date, per: Period) -> None:
    """A period's start is not after the day, its end is after it, and there the next one begins."""
    start = getattr(starts(day.toordinal() - EPOCH_DAY), per)
    over = end(per, start).date()
    assert start <= day.toordinal() < over.toordinal()
    assert getattr(starts(over.toordinal() - EPOCH_DAY), per) == over.toordinal()


@dataclass
class SetClock:
    wall: datetime
    seconds: float = 0.0

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.seconds


def test_a_calendar_looks_at_the_wall() -> None:
    """A wall clock that is set is noticed within a moment, and midnight to the point."""
    clock = SetClock(datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC))
    calendar = Calendar(clock)
    assert calendar.moment().starts.month == date(2026, 11, 1).toordinal()
    clock.seconds += WALL_SECONDS / 2
    assert calendar.moment().starts.month == date(2026, 11, 1).toordinal()
    clock.seconds, clock.wall = 1.0, datetime(2026, 12, 1, tzinfo=UTC)
    assert calendar.moment().starts == starts(date(2026, 12, 1).toordinal() - EPOCH_DAY)
    assert calendar.moment().wall == clock.wall.timestamp()
