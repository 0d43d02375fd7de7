"""NCRONTAB expressions, read as the Functions host reads them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.host.schedule import Schedule

MONDAY = datetime(2026, 6, 1, 12, 30, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "after", "due"),
    [
        ("* * * * * *", MONDAY, MONDAY + timedelta(seconds=1)),
        ("*/30 * * * * *", MONDAY, MONDAY.replace(second=30)),
        ("15 * * * * *", MONDAY, MONDAY + timedelta(minutes=1)),
        ("0 */5 * * * *", MONDAY, MONDAY.replace(minute=35, second=0)),
        ("0 20/15 * * * *", MONDAY, MONDAY.replace(minute=35, second=0)),
        ("*/5 * * * *", MONDAY, MONDAY.replace(minute=35, second=0)),
        ("0 0 1 * * *", MONDAY, datetime(2026, 6, 2, 1, tzinfo=UTC)),
        ("0 30 9 * * 1-5", MONDAY, datetime(2026, 6, 2, 9, 30, tzinfo=UTC)),
        ("0 30 9 * * sat,SUN", MONDAY, datetime(2026, 6, 6, 9, 30, tzinfo=UTC)),
        ("0 0 0 1 January *", MONDAY, datetime(2027, 1, 1, tzinfo=UTC)),
        ("0 0 0 31 * *", MONDAY, datetime(2026, 7, 31, tzinfo=UTC)),
        ("0 0 0 29 2 *", MONDAY, datetime(2028, 2, 29, tzinfo=UTC)),
        ("0 0 0 13 * Fri", MONDAY, datetime(2026, 11, 13, tzinfo=UTC)),
        ("0 0 12-10 * * *", MONDAY, datetime(2026, 6, 2, 10, tzinfo=UTC)),
        ("0 0 0 29 2 Mon", datetime(2088, 6, 1, tzinfo=UTC), datetime(2112, 2, 29, tzinfo=UTC)),
    ],
)
def test_due(expression: str, after: datetime, due: datetime) -> None:
    """The next time is the first later one that fits every field, the day of the week as well as the day."""
    assert Schedule.parse(expression).after(after) == due


def test_times_of_other_zones() -> None:
    """A schedule is in UTC, whatever zone the time is told in."""
    berlin = MONDAY.astimezone(timezone(timedelta(hours=2)))
    assert Schedule.parse("0 0 13 * * *").after(berlin) == MONDAY.replace(hour=13, minute=0, second=0)


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "* * * *",
        "* * * * * * *",
        "60 * * * * *",
        "0 0 24 * * *",
        "0 0 0 0 * *",
        "0 0 0 * 13 *",
        "0 0 0 * * 7",
        "*/0 * * * * *",
        "*/x * * * * *",
        "1,,2 * * * * *",
        "-5 * * * * *",
        "0 0 0 * ¹ *",
        "0 0 0 * * Tomorrow",
    ],
)
def test_not_a_schedule(expression: str) -> None:
    """What NCRONTAB has no meaning for is refused."""
    with pytest.raises(ValueError, match=r"fields|is not a|step"):
        Schedule.parse(expression)


def test_a_day_that_never_comes() -> None:
    """The 30th of February is told as such, not searched for without end."""
    with pytest.raises(ValueError, match="no such day"):
        Schedule.parse("0 0 0 30 2 *").after(MONDAY)


NUMBERS = st.integers(0, 59)
ITEM = st.one_of(
    st.just("*"),
    NUMBERS.map(str),
    st.builds("{}-{}".format, NUMBERS, NUMBERS),
    st.builds("*/{}".format, st.integers(1, 70)),
    st.builds("{}/{}".format, NUMBERS, st.integers(1, 70)),
)


def fits(item: str, value: int) -> bool:
    """Tell whether a field's item covers a value, said another way than the parser's."""
    span, _, step = item.partition("/")
    begin, _, end = span.partition("-")
    if span == "*":
        return value % int(step or 1) == 0
    low, high = sorted((int(begin), int(end or (59 if step else begin))))
    return low <= value <= high and (value - low) % int(step or 1) == 0


@given(
    seconds=st.lists(ITEM, min_size=1, max_size=3),
    minutes=st.lists(ITEM, min_size=1, max_size=3),
    offset=st.integers(0, 86_399),
)
def test_nothing_is_skipped(seconds: list[str], minutes: list[str], offset: int) -> None:
    """The next time fits, and no second between now and then does."""
    now = MONDAY + timedelta(seconds=offset)
    due = Schedule.parse(f"{','.join(seconds)} {','.join(minutes)} * * * *").after(now)
    moment = now
    while (moment := moment + timedelta(seconds=1)) < due:
        fitting = any(fits(item, moment.second) for item in seconds), any(fits(item, moment.minute) for item in minutes)
        assert not all(fitting)
    assert any(fits(item, due.second) for item in seconds)
    assert any(fits(item, due.minute) for item in minutes)
