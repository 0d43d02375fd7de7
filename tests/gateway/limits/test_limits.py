"""Reserving, settling and refunding on one instance."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from gateway.catalog.catalog import Budget, DeploymentLimits, Limits, Quota
from gateway.limits.limits import Allowance, Demand, Kind, Reservation, units
from gateway.limits.periods import Moment, starts

LEASE = 3600.0


def at(seconds: float, day: int = 20_000) -> Moment:
    return Moment(seconds, 1_700_000_000.0, starts(day))


def allowance(limits: Limits | None = None, quota: int | None = None, budget: str | None = None) -> Allowance:
    return Allowance(
        "scope",
        DeploymentLimits(
            limits or Limits(),
            Quota(quota, "month") if quota else None,
            Budget(Decimal(budget), "USD", "month", hard=True) if budget else None,
        ),
    )


def reserve(scope: Allowance, demand: Demand, moment: Moment) -> Reservation | Kind:
    kind = scope.refusing(demand, moment)
    return Reservation((scope,), demand, moment, moment.now + LEASE) if kind is None else kind


def test_each_limit_refuses_by_its_name() -> None:
    """The first limit that a demand does not fit in is named; the limit itself fits."""
    demand = Demand(tokens=10, quota=10, money=10)
    cases = [
        (allowance(Limits(requests_per_minute=1)), Kind.REQUESTS),
        (allowance(Limits(tokens_per_minute=10)), Kind.TOKENS),
        (allowance(Limits(concurrent=1)), Kind.CONCURRENT),
        (allowance(quota=10), Kind.QUOTA),
        (allowance(budget="0.000000001"), Kind.BUDGET),
    ]
    for scope, kind in cases:
        assert isinstance(reserve(scope, demand, at(0.0)), Reservation)
        assert reserve(scope, demand, at(0.0)) is kind


def test_a_used_up_period_refuses_everything() -> None:
    """Once a quota is used up, a request that would cost nothing is refused as well."""
    scope = allowance(quota=10)
    reservation = reserve(scope, Demand(quota=10), at(0.0))
    assert isinstance(reservation, Reservation)
    reservation.settle(10, 0, at(1.0))
    assert reserve(scope, Demand(), at(1.0)) is Kind.QUOTA


def test_refund() -> None:
    """What was reserved and not used is free again as soon as the truth is known."""
    scope = allowance(Limits(tokens_per_minute=100), quota=100)
    reservation = reserve(scope, Demand(tokens=100, quota=100), at(0.0))
    assert isinstance(reservation, Reservation)
    reservation.settle(30, 0, at(1.0))
    assert reserve(scope, Demand(tokens=71, quota=0), at(1.0)) is Kind.TOKENS
    assert isinstance(reserve(scope, Demand(tokens=70, quota=70), at(1.0)), Reservation)


def test_unknown_truth_gives_a_rate_no_refund() -> None:
    """An estimate below what was reserved leaves the rate as it is; the quota goes by what is charged."""
    scope = allowance(Limits(tokens_per_minute=100), quota=100)
    reservation = reserve(scope, Demand(tokens=100, quota=100), at(0.0))
    assert isinstance(reservation, Reservation)
    reservation.settle(30, 0, at(1.0), certain=False)
    assert scope.refusing(Demand(tokens=1, quota=1), at(1.0)) is Kind.TOKENS
    assert scope.quota is not None
    assert scope.quota.total(at(1.0)) == 30


def test_settling_twice_counts_once() -> None:
    """A second settlement, or a lapse after it, changes nothing."""
    scope = allowance(Limits(tokens_per_minute=100, concurrent=2), quota=100, budget="1")
    reservation = reserve(scope, Demand(tokens=50, quota=50, money=9), at(0.0))
    assert isinstance(reservation, Reservation)
    for _ in range(2):
        reservation.release()
        reservation.settle(20, 5, at(1.0))
    reservation.lapse()
    assert [counter.total(at(1.0)) for _, counter in scope.checked] == [20, 0, 20, 5]


def test_a_lost_reservation_lapses() -> None:
    """When the lease is over everything that was held is free; what is settled later counts in full."""
    scope = allowance(Limits(concurrent=1), quota=100)
    reservation = reserve(scope, Demand(quota=100), at(0.0))
    assert isinstance(reservation, Reservation)
    reservation.lapse()
    assert isinstance(reserve(scope, Demand(quota=40), at(LEASE)), Reservation)
    reservation.settle(60, 0, at(LEASE + 1))
    assert scope.quota is not None
    assert scope.quota.total(at(LEASE + 1)) == 100


def test_limits_change_under_way() -> None:
    """New limits hold for what is taken already, and a reservation gives back to where it took from."""
    scope = allowance(Limits(requests_per_minute=5, concurrent=5))
    reservation = reserve(scope, Demand(), at(0.0))
    assert isinstance(reservation, Reservation)
    scope.limit(DeploymentLimits(Limits(requests_per_minute=1)))
    assert reserve(scope, Demand(), at(0.0)) is Kind.REQUESTS
    scope.limit(DeploymentLimits(Limits(concurrent=1), Quota(9, "day")))
    reservation.release()
    reservation.settle(3, 0, at(1.0))
    assert [counter.total(at(1.0)) for _, counter in scope.checked] == [0, 3]


def test_a_period_ends() -> None:
    """The next month begins at nothing; a reservation that reaches into it is settled there."""
    scope = allowance(quota=10)
    first, last = starts(20_000).month - 719_163, starts(20_000).month - 719_163 + 31
    reservation = reserve(scope, Demand(quota=10), at(0.0, first))
    assert isinstance(reservation, Reservation)
    assert reserve(scope, Demand(quota=1), at(1.0, first)) is Kind.QUOTA
    reservation.settle(4, 0, at(2.0, last))
    assert scope.refusing(Demand(quota=6), at(2.0, last)) is None
    assert scope.refusing(Demand(quota=7), at(2.0, last)) is Kind.QUOTA


def test_a_clock_that_jumps() -> None:
    """A wall clock that goes a month ahead and comes back finds the month's use as it was, and rates do not notice."""
    scope = allowance(Limits(requests_per_minute=1), quota=10)
    reservation = reserve(scope, Demand(quota=10), at(0.0))
    assert isinstance(reservation, Reservation)
    reservation.settle(10, 0, at(0.0))
    ahead = Moment(1.0, 9_000_000_000.0, starts(20_040))
    assert scope.refusing(Demand(requests=0, quota=10), ahead) is None
    assert scope.refusing(Demand(), ahead) is Kind.REQUESTS
    assert scope.refusing(Demand(requests=0, quota=1), at(2.0)) is Kind.QUOTA


def test_money_is_whole_units() -> None:
    """Amounts are kept to ten decimals, as statements show them, rounded half to even, estimates up."""
    assert units(Decimal("12.3456789012")) == 123456789012
    assert units(Decimal("0.00000000005")) == 0
    assert units(Decimal("0.00000000015")) == 2
    assert units(Decimal("0.00000000001"), up=True) == 1


steps = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "settle", "lapse", "release"]), st.integers(0, 40), st.integers(0, 9), st.booleans()
    ),
    max_size=120,
)


@given(steps)
def test_any_interleaving(script: list[tuple[str, int, int, bool]]) -> None:
    """Whatever the order, nothing held or running is ever over a limit, and nothing given back was not taken."""
    scope = allowance(
        Limits(requests_per_minute=12, tokens_per_minute=100, concurrent=4), quota=300, budget="0.00000003"
    )
    open_ones: list[Reservation] = []
    now = 0.0
    for action, amount, pick, certain in script:
        now += 0.7
        moment = at(now)
        if action == "reserve":
            made = reserve(scope, Demand(tokens=amount, quota=amount, money=amount), moment)
            open_ones += [made] if isinstance(made, Reservation) else []
        elif open_ones and action == "lapse":
            open_ones.pop(pick % len(open_ones)).lapse()
        elif open_ones and action == "release":
            open_ones[pick % len(open_ones)].release()
        elif open_ones:
            reservation = open_ones.pop(pick % len(open_ones))
            reservation.release()
            reservation.settle(min(amount, reservation._demand.tokens), amount // 2, moment, certain=certain)
        for kind, counter in scope.checked:
            over = kind is Kind.BUDGET and action == "settle"
            assert 0 <= counter.total(moment) <= counter.limit or over, kind
    for reservation in open_ones:
        reservation.release()
        reservation.settle(0, 0, at(now))
    held = [balance.held for balance in (scope.concurrent, scope.quota, scope.budget) if balance is not None]
    assert held == [0, 0, 0]
