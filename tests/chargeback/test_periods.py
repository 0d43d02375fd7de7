"""Months and days."""

from datetime import date

import pytest

from chargeback import periods
from chargeback.errors import DayInvalid, PeriodInvalid


@pytest.mark.parametrize(
    ("day", "next_month"),
    [
        (date(2026, 1, 31), date(2026, 2, 1)),
        (date(2026, 2, 1), date(2026, 3, 1)),
        (date(2026, 12, 31), date(2027, 1, 1)),
    ],
)
def test_next_month(day: date, next_month: date) -> None:
    """The month after a day begins with its first day, whichever day it was and whatever the year."""
    assert periods.next_month(day) == next_month


def test_as_they_are_written() -> None:
    """A month and a day are read as they are written in paths."""
    assert periods.first_day("2026-11") == date(2026, 11, 1)
    assert periods.day("2026-11-20") == date(2026, 11, 20)


@pytest.mark.parametrize("text", ["", "2026-13", "2026-1", "2026-11-01", "\uff12026-11", "1999-11"])
def test_no_month(text: str) -> None:
    """What is no month of this century is refused by name."""
    with pytest.raises(PeriodInvalid, match="a month such as"):
        periods.first_day(text)


@pytest.mark.parametrize("text", ["", "2026-02-30", "20261120", "2026-11-2", "2026-11-20T00"])
def test_no_day(text: str) -> None:
    """What is no day of the calendar is refused by name."""
    with pytest.raises(DayInvalid, match="A day is written like"):
        periods.day(text)
