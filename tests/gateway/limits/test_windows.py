"""The sliding window of a rate limit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits.periods import Moment, starts
from gateway.limits.windows import GRAIN, SPAN, Window

WALL = 1_700_000_000.0


def at(seconds: float, shift: float = WALL) -> Moment:
    return Moment(seconds, shift, starts(20_000))


def filled(limit: int, *moments: float) -> Window:
    window = Window(limit, limit)
    for moment in moments:
        assert window.fits(1, at(moment))
        window.take(1, at(moment))
    return window


def test_the_limit_itself_passes() -> None:
    """As many as the limit pass at once, the next one does not, and a minute later all of them again."""
    window = filled(3, 0.0, 0.0, 0.0)
    assert not window.fits(1, at(0.0))
    assert not window.fits(1, at(59.9))
    assert window.fits(3, at(60.0))
    assert not window.fits(4, at(60.0))


def test_it_slides() -> None:
    """What was taken late in a minute still counts early in the next one."""
    window = filled(2, 0.0, 50.0)
    assert window.fits(1, at(61.0))
    assert not window.fits(2, at(61.0))
    assert window.fits(2, at(110.0))


def test_how_long_to_wait() -> None:
    """The wait is until enough of the oldest has left; a reset is when all of it has."""
    window = filled(3, 0.0, 10.0, 20.0)
    assert window.wait(1, at(30.0)) == pytest.approx(30.0)
    assert window.wait(2, at(30.0)) == pytest.approx(40.0)
    assert window.wait(9, at(30.0)) == pytest.approx(50.0)
    assert window.reset(at(30.0)) == pytest.approx(50.0)
    assert Window(3, 3).wait(1, at(30.0)) == 0.0


def test_a_settlement_that_comes_late() -> None:
    """More than was reserved counts from now where the reservation has left the window; less is no refund then."""
    window = Window(100, 100)
    entry = window.take(10, at(0.0))
    window.adjust(entry, 25, at(70.0))
    assert window.total(at(70.0)) == 25
    other = window.take(10, at(70.0))
    window.adjust(other, -4, at(75.0))
    assert window.total(at(75.0)) == 31
    window.adjust(other, -6, at(200.0))
    assert window.total(at(200.0)) == 0


def test_it_stays_small() -> None:
    """Takings within one grain are one entry, so that a busy minute costs little memory."""
    window = Window(10**9, 10**9)
    for number in range(100_000):
        assert window.fits(1, at(number * 0.001))
        window.take(1, at(number * 0.001))
    assert len(window._entries) <= SPAN / GRAIN + 2
    assert window.total(at(99.999)) >= 60_000


@given(
    st.integers(1, 20),
    st.lists(st.tuples(st.floats(0, 30), st.integers(1, 5), st.booleans()), max_size=60),
)
def test_no_minute_sees_more(limit: int, asked: list[tuple[float, int, bool]]) -> None:
    """Whatever comes when, no 60 seconds see more than the limit, refunds left out."""
    window, now = Window(limit, limit), 0.0
    taken: list[tuple[float, int]] = []
    for pause, amount, refunded in asked:
        now += pause
        if window.fits(amount, at(now)):
            entry = window.take(amount, at(now))
            if refunded:
                window.adjust(entry, -amount, at(now))
            else:
                taken.append((now, amount))
        inside = sum(each for moment, each in taken if moment > now - SPAN)
        assert inside <= limit
        assert window.total(at(now)) >= inside


@given(
    st.lists(st.tuples(st.integers(0, 2), st.floats(0, 3), st.integers(1, 6), st.booleans()), max_size=80),
    st.lists(st.floats(-3, 3), min_size=3, max_size=3),
)
def test_instances_hear_of_each_other(steps: list[tuple[int, float, int, bool]], skews: list[float]) -> None:
    """After it has told the row, an instance knows at least what all told; and exactly, while nothing has aged."""
    windows = [Window(10**6, 10**6) for _ in range(3)]
    row: dict[int, int] = {}
    told, now = [0, 0, 0], 0.0
    for number, pause, amount, tell in steps:
        now += pause / 10
        window, moment = windows[number], at(now, WALL + skews[number])
        window.take(amount, moment)
        if tell:
            update = window.update(row, moment)
            window.accept(update, moment)
            row = update.row
            told[number] = window._taken
            assert window.untold == 0
            assert window.total(moment) == sum(told)
            assert sum(row.values()) == sum(told)


def test_a_lease_for_what_waits() -> None:
    """What waits is told ahead, as far as it fits, and what is not used of it is taken back with the next telling."""
    window = Window(10, 1)
    window.wanted = 25
    first = window.update({}, at(0.0))
    window.accept(first, at(0.0))
    assert sum(first.row.values()) == 10
    assert not window.short(11)
    assert window.short(12)
    window.wanted = 0
    window.take(4, at(0.1))
    second = window.update(first.row, at(0.5))
    assert sum(second.row.values()) == 4


def test_nonsense_is_not_believed() -> None:
    """Amounts from far in the future or long ago are ignored, and leave the row."""
    window = Window(10, 1)
    update = window.update({int(WALL) + 3600: 9, int(WALL) - 100: 9, int(WALL) - 1: 2}, at(0.0))
    window.accept(update, at(0.0))
    assert window.total(at(0.0)) == 2
    assert list(update.row.values()) == [2]
