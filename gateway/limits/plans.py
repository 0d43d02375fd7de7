"""What a subscription's calls of a deployment are checked against, kept for as long as it is in use."""

from typing import Final

from gateway.catalog.catalog import DeploymentLimits, Subscription
from gateway.limits.estimates import Estimate, Learned
from gateway.limits.limits import Allowance, Demand
from gateway.limits.telling import WHOLE, Group

IDLE: Final = 600.0
"""Seconds without a call after which what is known of a subscription is let go."""

SWEEP: Final = 60.0
NO_LIMITS: Final = DeploymentLimits()


class Plan:
    """The allowances that a call must fit in: the subscription's own, and those for the deployment."""

    def __init__(self, subscription: Subscription, group: Group, allowances: tuple[Allowance, ...]) -> None:
        self.subscription = subscription
        self.group = group
        self.allowances = allowances
        self.learned = Learned()
        self.used_at = 0.0
        self.by_money = any(each.budget is not None for each in allowances)
        self.by_hard_budget = any(each.hard for each in allowances)
        self.tokens_per_minute = min((each.tokens.limit for each in allowances if each.tokens), default=None)
        self._quota = min((each.quota.limit for each in allowances if each.quota), default=None)
        self._budget = min((each.budget.limit for each in allowances if each.budget and each.hard), default=None)

    def demand(self, estimate: Estimate, money: int) -> Demand:
        """Return what to reserve. What only we believe of a request's size must not keep it out for good."""
        tokens = quota = estimate.tokens
        if self.tokens_per_minute is not None:
            tokens = min(tokens, self.tokens_per_minute)
        if not estimate.asked:
            quota = quota if self._quota is None else min(quota, self._quota)
            money = money if self._budget is None else min(money, self._budget)
        return Demand(tokens=tokens, quota=quota, money=money)


class Plans:
    """`shared`: periods are in the shared rows as well, so that a subscription nobody uses can be let go."""

    def __init__(self, *, shared: bool) -> None:
        self._shared = shared
        self._plans: dict[tuple[str, str], Plan] = {}
        self._groups: dict[str, Group] = {}
        self._swept_at = 0.0

    def plan(self, subscription: Subscription, deployment: str, now: float) -> Plan:
        """Return the plan, with the limits that the subscription has by now."""
        if now - self._swept_at > SWEEP:
            self._sweep(now)
        key = (subscription.name, deployment)
        plan = self._plans.get(key)
        if plan is None or (plan.subscription is not subscription and plan.subscription != subscription):
            plan = self._plans[key] = self._renewed(plan, subscription, deployment)
        plan.used_at = now
        return plan

    def _renewed(self, old: Plan | None, subscription: Subscription, deployment: str) -> Plan:
        group = self._groups.setdefault(subscription.name, Group(subscription.name))
        whole = DeploymentLimits(subscription.limits, subscription.quota, subscription.budget)
        scopes = {WHOLE: whole, deployment: subscription.deployment_limits.get(deployment, NO_LIMITS)}
        allowances = []
        for row, limits in scopes.items():
            allowance = group.allowances.get(row)
            if allowance is None and limits != NO_LIMITS:
                allowance = group.allowances[row] = Allowance(row, limits)
            elif allowance is not None and allowance.limits != limits:
                allowance.limit(limits)
            if allowance is not None and limits != NO_LIMITS:
                allowances.append(allowance)
        plan = Plan(subscription, group, tuple(allowances))
        if old is not None:
            plan.learned = old.learned
        return plan

    def _sweep(self, now: float) -> None:
        self._swept_at = now
        self._plans = {key: plan for key, plan in self._plans.items() if now - plan.used_at < IDLE}
        used = {plan.subscription.name for plan in self._plans.values()}
        self._groups = {name: group for name, group in self._groups.items() if name in used or not self._idle(group)}

    def _idle(self, group: Group) -> bool:
        allowances = group.allowances.values()
        if any(each.touched or each.holding() for each in allowances) and self._shared:
            return False
        return self._shared or not any(each.periodic or each.holding() for each in allowances)
