"""Calendar periods in UTC, by the ordinal of their first day: a day, a week from Monday, a month."""

import math
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from gateway.catalog.catalog import Period
from seams.clock import Clock

DAY_SECONDS = 86_400
EPOCH_DAY = date(1970, 1, 1).toordinal()
WALL_SECONDS = 0.1
"""A wall clock that is set is noticed within this time."""


class Starts(NamedTuple):
    """Ordinals (date.toordinal) of the first days of the periods that a day lies in."""

    day: int
    week: int
    month: int


class Moment(NamedTuple):
    """One point in time: monotonic seconds, what to add to them for seconds since 1970, and the periods' starts."""

    now: float
    shift: float
    starts: Starts

    @property
    def wall(self) -> float:
        return self.now + self.shift


class Calendar:
    """Tells moments for less than two looks at the clocks: the wall clock is looked at every WALL_SECONDS."""

    __slots__ = ("_clock", "_day", "_looked", "_shift", "_starts")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._looked = -math.inf
        self._shift = 0.0
        self._day = 0
        self._starts = starts(0)

    def moment(self) -> Moment:
        now = self._clock.monotonic()
        if now - self._looked > WALL_SECONDS:
            self._looked = now
            self._shift = self._clock.now().timestamp() - now
        day = int((now + self._shift) // DAY_SECONDS)
        if day != self._day:
            self._day, self._starts = day, starts(day)
        return Moment(now, self._shift, self._starts)


def starts(epoch_day: int) -> Starts:
    """Return the periods of a day, counted from 1970-01-01."""
    day = date.fromordinal(EPOCH_DAY + epoch_day)
    ordinal = day.toordinal()
    return Starts(ordinal, ordinal - day.weekday(), ordinal - day.day + 1)


def end(per: Period, start: int) -> datetime:
    """Return when the period that begins on this day is over, aware, in UTC."""
    first = date.fromordinal(start)
    match per:
        case "day":
            after = first + timedelta(days=1)
        case "week":
            after = first + timedelta(days=7)
        case "month":
            after = (first.replace(day=1) + timedelta(days=32)).replace(day=1)
    return datetime.combine(after, time(), UTC)
