"""When a timer is due: NCRONTAB expressions, read as the Functions host reads them.

Six fields: second, minute, hour, day, month, day of the week (0 is Sunday); five leave the second out, which is 0
then. A field is `*` or a list of values and ranges (`1,5-8`), each with a step if need be (`*/5`, `10-40/10`; `20/15`
goes on to the field's end). Months and days of the week have names, of which a beginning is enough. Unlike in Unix's
cron a day must fit both of its fields. Times are in UTC, as on Azure without WEBSITE_TIME_ZONE.

Source: the library NCrontab, which the WebJobs SDK's timer extension parses with.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final, NamedTuple, Self

_LONGEST_WAIT_DAYS: Final = 366 * 40
"""A 29th of February falls on each day of the week within 28 years, or 40 around a century without a leap year."""


class _Field(NamedTuple):
    name: str
    first: int
    last: int
    names: Sequence[str] = ()


_MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_DAYS: Final = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_FIELDS: Final = (
    _Field("second", 0, 59),
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of the week", 0, 6, _DAYS),
)


@dataclass(frozen=True, slots=True)
class Schedule:
    """The values that each field takes, in ascending order."""

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]

    @classmethod
    def parse(cls, expression: str) -> Self:
        """Raises ValueError, which says what is wrong with the expression."""
        words = expression.split()
        if len(words) == len(_FIELDS) - 1:
            words.insert(0, "0")
        if len(words) != len(_FIELDS):
            raise ValueError(f"{expression!r} does not have six fields: second minute hour day month day-of-week")
        return cls(*(_values(field, word) for field, word in zip(_FIELDS, words, strict=True)))

    def after(self, moment: datetime) -> datetime:
        """Return the first time that is later than `moment` (aware). Raises ValueError where none ever comes."""
        start = moment.astimezone(UTC)
        on_this_day = self._time_after(start.time()) if self._has_day(start) else None
        if on_this_day is not None:
            return datetime.combine(start.date(), on_this_day, UTC)
        first = time(self.hours[0], self.minutes[0], self.seconds[0])
        for days in range(1, _LONGEST_WAIT_DAYS):
            day = start + timedelta(days=days)
            if self._has_day(day):
                return datetime.combine(day.date(), first, UTC)
        raise ValueError("there is no such day: no month of the schedule has it")

    def _has_day(self, moment: datetime) -> bool:
        return moment.month in self.months and moment.day in self.days and moment.isoweekday() % 7 in self.weekdays

    def _time_after(self, moment: time) -> time | None:
        """Return the day's first time that is later."""
        hour, minute, second = moment.hour, moment.minute, moment.second
        if hour in self.hours:
            if minute in self.minutes and (later := _later(self.seconds, second)) is not None:
                return time(hour, minute, later)
            if (later := _later(self.minutes, minute)) is not None:
                return time(hour, later, self.seconds[0])
        if (later := _later(self.hours, hour)) is not None:
            return time(later, self.minutes[0], self.seconds[0])
        return None


def _later(values: tuple[int, ...], value: int) -> int | None:
    index = bisect_right(values, value)
    return values[index] if index < len(values) else None


def _values(field: _Field, word: str) -> tuple[int, ...]:
    return tuple(sorted({value for item in word.split(",") for value in _item(field, item)}))


def _item(field: _Field, item: str) -> Iterator[int]:
    span, slash, step = item.partition("/")
    if slash and not (step.isascii() and step.isdecimal() and int(step)):
        raise ValueError(f"{item!r} does not say a step of {field.name}s: it is a number above 0")
    begin, dash, end = span.partition("-")
    if span == "*":
        first, last = field.first, field.last
    elif dash:
        # NCrontab takes the ends of a range in either order.
        first, last = sorted((_value(field, begin), _value(field, end)))
    else:
        first = _value(field, begin)
        last = field.last if slash else first
    yield from range(first, last + 1, int(step or 1))


def _value(field: _Field, text: str) -> int:
    if text.isascii() and text.isdecimal() and field.first <= int(text) <= field.last:
        return int(text)
    for number, name in enumerate(field.names, start=field.first):
        if text and name.lower().startswith(text.lower()):
            return number
    raise ValueError(f"{text!r} is not a {field.name}: it is from {field.first} to {field.last}")
