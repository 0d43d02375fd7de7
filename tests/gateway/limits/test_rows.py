"""The shared rows of limits: what instances write, and what they make of each other's."""

from decimal import Decimal

import msgspec
import pytest

from gateway.catalog.catalog import Budget, DeploymentLimits, Limits, Quota
from gateway.limits.limits import Allowance, Demand, Reservation
from gateway.limits.periods import Moment, starts
from gateway.limits.rows import LEASE, REMEMBERED, Author, History, LimitRow, read_row, to_entity, update_row
from seams.tables import Entity

WALL = 1_700_000_000.0
FULL = DeploymentLimits(
    Limits(requests_per_minute=100, tokens_per_minute=1000, concurrent=10),
    Quota(10_000, "week"),
    Budget(Decimal(10), "USD", "month", hard=True),
)


def at(seconds: float) -> Moment:
    return Moment(seconds, WALL, starts(int((WALL + seconds) // 86_400)))


def told(scope: Allowance, row: LimitRow, name: str, moment: Moment, history: History | None = None) -> LimitRow:
    """Return the row after this instance has written it and knows so."""
    update = update_row(scope, row, Author(name, 1), moment, history or History())
    update.accept(moment)
    return read_row(to_entity("team-a", "-all", update.row, None))


def reserved(scope: Allowance, demand: Demand, moment: Moment) -> Reservation:
    assert scope.refusing(demand, moment) is None
    return Reservation((scope,), demand, moment, moment.now + 3600)


def totals(scope: Allowance, moment: Moment) -> list[int]:
    return [counter.total(moment) for _, counter in scope.checked]


def test_a_row_that_is_not_there() -> None:
    """An instance that finds no row knows what it took itself, and the row says the same."""
    scope, empty = Allowance("-all", FULL), read_row(None)
    reserved(scope, Demand(tokens=50, quota=50, money=7), at(0.0))
    row = told(scope, empty, "one", at(0.0))
    assert totals(scope, at(0.0)) == [1, 50, 1, 50, 7]
    assert (sum(row.requests.values()), sum(row.tokens.values())) == (1, 50)
    assert (row.held["one"].concurrent, row.held["one"].quota, row.held["one"].budget) == (1, 50, 7)


def test_two_instances_see_the_same() -> None:
    """What one settled and holds the other counts, and nothing counts twice, however often they tell."""
    one, two = Allowance("-all", FULL), Allowance("-all", FULL)
    settled = reserved(one, Demand(tokens=50, quota=50, money=9), at(0.0))
    settled.release()
    settled.settle(30, 5, at(0.5))
    reserved(one, Demand(tokens=20, quota=20, money=4), at(1.0))
    row = read_row(None)
    for _ in range(3):
        row = told(one, row, "one", at(1.0))
        row = told(two, row, "two", at(1.5))
    assert totals(one, at(1.5)) == totals(two, at(1.5)) == [2, 50, 1, 50, 9]


def test_what_a_killed_instance_held() -> None:
    """What it settled stays; what it held is free when its lease is over, and its entry goes some time later."""
    one, two = Allowance("-all", FULL), Allowance("-all", FULL)
    reserved(one, Demand(tokens=20, quota=20, money=4), at(0.0)).settle(15, 3, at(0.0))
    reserved(one, Demand(tokens=20, quota=20, money=4), at(0.0))
    row = told(one, read_row(None), "one", at(0.0))
    row = told(two, row, "two", at(1.0))
    assert totals(two, at(1.0))[2:] == [2, 35, 7]
    assert totals(two, at(LEASE + 1.0))[2:] == [0, 15, 3]
    assert "one" in told(two, row, "two", at(LEASE + 2.0)).held
    assert "one" not in told(two, row, "two", at(LEASE + REMEMBERED + 2.0)).held


def test_the_ledger_outweighs_a_row_that_says_less() -> None:
    """What was charged is the least that a period begins with; what the row says beyond it stays."""
    scope = Allowance("-all", FULL)
    row = told(scope, read_row(None), "one", at(0.0), History(quota=700, budget=3))
    assert totals(scope, at(0.0))[3:] == [700, 3]
    other = Allowance("-all", FULL)
    told(other, row, "two", at(1.0), History(quota=600, budget=9))
    assert totals(other, at(1.0))[3:] == [700, 9]


def test_a_limit_that_is_taken_away_and_set_again() -> None:
    """While there is no quota its column stays, so that setting it again does not begin the period anew."""
    scope = Allowance("-all", FULL)
    reserved(scope, Demand(), at(0.0)).settle(400, 0, at(0.0))
    row = told(scope, read_row(None), "one", at(0.0))
    bare = Allowance("-all", DeploymentLimits(Limits(requests_per_minute=5)))
    row = told(bare, row, "two", at(1.0))
    assert row.tokens == {}
    again = Allowance("-all", FULL)
    told(again, row, "three", at(2.0))
    assert totals(again, at(2.0))[3] == 400


def test_a_damaged_row() -> None:
    """A column that no instance wrote is an error to read."""
    with pytest.raises(msgspec.DecodeError):
        read_row(Entity("team-a", "-all", {"quota": "many"}))
