"""What calls are checked against, and for how long it is kept."""

from typing import Any

from gateway.limits.estimates import Estimate
from gateway.limits.limits import Reservation
from gateway.limits.periods import Moment, starts
from gateway.limits.plans import IDLE, SWEEP, Plan, Plans
from tests.gateway.limited_calls import subscription_of

NOW = Moment(100.0, 1_700_000_000.0, starts(20_000))


def plans(*, shared: bool = True) -> Plans:
    return Plans(shared=shared)


def plan_of(fields: dict[str, Any]) -> Plan:
    return plans().plan(subscription_of(fields), "gpt-4o", 0.0)


def test_scopes() -> None:
    """A call is checked against its subscription and its deployment, as far as these have limits."""
    whole = {"limits": {"concurrent": 1}}
    own = {"deployment_limits": {"gpt-4o": {"concurrent": 1}}}
    assert [each.row for each in plan_of(whole).allowances] == ["-all"]
    assert [each.row for each in plan_of(own).allowances] == ["gpt-4o"]
    assert [each.row for each in plan_of(whole | own).allowances] == ["-all", "gpt-4o"]
    assert plan_of({"deployment_limits": {"embed": {"concurrent": 1}}}).allowances == ()


def test_deployments_share_the_subscriptions_own_limits() -> None:
    """Two deployments' plans have one allowance of the subscription."""
    both, subscription = plans(), subscription_of({"limits": {"concurrent": 1}})
    assert both.plan(subscription, "a", 0.0).allowances[0] is both.plan(subscription, "b", 0.0).allowances[0]


def test_a_changed_subscription() -> None:
    """New limits hold from the next call on, with what was taken and learned so far; an equal one changes nothing."""
    kept = plans()
    fields: dict[str, Any] = {"limits": {"requests_per_minute": 5}}
    first = kept.plan(subscription_of(fields), "gpt-4o", 0.0)
    assert kept.plan(subscription_of(fields), "gpt-4o", 0.0) is first
    window = first.allowances[0].requests
    changed = kept.plan(subscription_of({"limits": {"requests_per_minute": 2}}), "gpt-4o", 0.0)
    assert changed.allowances[0].requests is window
    assert window is not None
    assert window.limit == 2
    assert changed.learned is first.learned
    assert kept.plan(subscription_of({}), "gpt-4o", 0.0).allowances == ()


def test_what_nobody_uses_is_let_go() -> None:
    """After a time without calls a subscription is forgotten, unless it holds something or has something to tell."""
    subscription = subscription_of({"quota": {"tokens": 9, "per": "day"}})
    other = subscription_of({"limits": {"concurrent": 1}}, "other")
    kept = plans()
    allowance = kept.plan(subscription, "gpt-4o", 0.0).allowances[0]
    plan = kept.plan(subscription, "gpt-4o", 0.0)
    reservation = Reservation(plan.allowances, plan.demand(Estimate(prompt=5), 0), NOW, 1e9)
    kept.plan(other, "gpt-4o", IDLE + SWEEP)
    assert kept.plan(subscription, "gpt-4o", IDLE + SWEEP).allowances[0] is allowance
    reservation.settle(5, 0, NOW)
    allowance.touched = False
    kept.plan(other, "gpt-4o", 3 * (IDLE + SWEEP))
    assert kept.plan(subscription, "gpt-4o", 3 * (IDLE + SWEEP)).allowances[0] is not allowance


def test_without_shared_rows_a_period_is_kept() -> None:
    """Where there is no row to read it from again, the period's use stays in memory."""
    alone, subscription = plans(shared=False), subscription_of({"quota": {"tokens": 9, "per": "day"}})
    allowance = alone.plan(subscription, "gpt-4o", 0.0).allowances[0]
    alone.plan(subscription_of({"limits": {"concurrent": 1}}, "other"), "gpt-4o", IDLE + SWEEP)
    assert alone.plan(subscription, "gpt-4o", IDLE + SWEEP).allowances[0] is allowance


def test_what_is_reserved() -> None:
    """A caller's bound is reserved as it is; an estimate of ours never more than a limit as a whole."""
    plan = plan_of(
        {
            "limits": {"tokens_per_minute": 100},
            "quota": {"tokens": 50, "per": "day"},
            "budget": {"amount": "0.00000001", "per": "day", "hard": True},
        }
    )
    believed = plan.demand(Estimate(prompt=500, completion=500), 10_000)
    assert (believed.tokens, believed.quota, believed.money) == (100, 50, 100)
    asked = plan.demand(Estimate(prompt=500, completion=90, asked=True), 10_000)
    assert (asked.tokens, asked.quota, asked.money) == (100, 590, 10_000)
