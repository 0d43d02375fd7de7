"""Months and days, all in UTC, and how they are written in paths and on the command line."""

import re
from datetime import date, timedelta
from typing import Final

from chargeback.errors import DayInvalid, PeriodInvalid

_MONTH: Final = re.compile(r"2\d{3}-(0[1-9]|1[0-2])", re.ASCII)
_DAY: Final = re.compile(r"2\d{3}-\d\d-\d\d", re.ASCII)


def first_day(period: str) -> date:
    """Return the first day of a month that is written yyyy-mm. Raises PeriodInvalid."""
    if not _MONTH.fullmatch(period):
        raise PeriodInvalid(f"The period must be a month such as 2026-11, not {period[:20]!r}.")
    return date.fromisoformat(f"{period}-01")


def day(text: str) -> date:
    """Return a day that is written yyyy-mm-dd. Raises DayInvalid."""
    try:
        if _DAY.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise DayInvalid(f"A day is written like 2026-11-20, not {text[:20]!r}.")


def next_month(day: date) -> date:
    """Return the first day of the month after a day's."""
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)
