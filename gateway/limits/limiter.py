"""Limits on the way of a call: what it may come to is reserved before a backend is asked, and settled by its events.

A subscription without limits costs one look at its fields. One with limits costs arithmetic in memory; a call waits for
the shared rows only where its instance has no word from the others on what is left (gateway/limits/sharing.py).
"""

import logging
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from gateway.call import Call
from gateway.limits.costs import Costs, Pricing
from gateway.limits.estimates import Estimate
from gateway.limits.limits import Demand, Reservation
from gateway.limits.periods import Calendar, Moment
from gateway.limits.plans import Plan, Plans
from gateway.limits.refusals import limit_headers, refusal, too_large, warning
from gateway.limits.sharing import Sharing
from gateway.usage import UsageEvent
from seams.clock import Clock

LEASE: Final = 3600.0
"""Seconds after which a reservation that nobody settled is void."""

logger = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class _Claim:
    limiter: "Limiter"
    plan: Plan
    reservation: Reservation
    estimate: Estimate

    @property
    def prompt_tokens(self) -> int:
        return self.estimate.prompt

    def release(self) -> None:
        self.reservation.release()

    def settle(self, events: list[UsageEvent]) -> None:
        try:
            self.limiter.settle(self.plan, self.reservation, self.estimate, events)
        except Exception:
            # The events are still to be published: a fault here must not cost the bill.
            logger.exception("Limits of %s could not be settled", self.plan.subscription.name)


class Limiter:
    """`sharing` is None where there is one instance only."""

    def __init__(self, clock: Clock, pricing: Pricing, sharing: Sharing | None = None) -> None:
        self._costs = Costs(pricing)
        self._sharing = sharing
        self._calendar = Calendar(clock)
        self._plans = Plans(shared=sharing is not None)
        self._reserved: OrderedDict[Reservation, None] = OrderedDict()

    async def reserve(self, call: Call) -> None:
        """Take what the call may come to, and leave it as `call.claim`; a subscription without limits has none.

        Raises RateLimited, QuotaExceeded and BudgetExceeded. `call.limit_headers` tell of the limits in any case.
        """
        if not call.subscription.limited:
            return
        moment = self._calendar.moment()
        plan = self._plans.plan(call.subscription, call.deployment.name, moment.now)
        if not plan.allowances:
            return
        self._lapse(moment)
        estimate = plan.learned.estimate(call.target.operation, call.peek, call.body)
        limit = plan.tokens_per_minute
        if estimate.asked and limit is not None and estimate.completion > limit:
            call.limit_headers = limit_headers(plan.allowances, moment)
            raise too_large(call.subscription, estimate.completion, limit)
        money = self._costs.most(call.deployment, estimate, moment.starts.day) if plan.by_hard_budget else 0
        demand = plan.demand(estimate, money)
        reservation = await self._taken(call, plan, demand, moment)
        self._reserved[reservation] = None
        call.claim = _Claim(self, plan, reservation, estimate)

    def tell(self, call: Call) -> None:
        """Leave what is left of the limits as `call.limit_headers`, for an answer that takes nothing of them."""
        if call.subscription.limited:
            moment = self._calendar.moment()
            plan = self._plans.plan(call.subscription, call.deployment.name, moment.now)
            if plan.allowances:
                call.limit_headers = limit_headers(plan.allowances, moment)

    def settle(self, plan: Plan, reservation: Reservation, estimate: Estimate, events: list[UsageEvent]) -> None:
        """Count the events as the statement does; no events: no backend was at work."""
        moment = self._calendar.moment()
        tokens = sum(event.meters.prompt_tokens + event.meters.completion_tokens for event in events)
        money = self._costs.of(events) if plan.by_money else 0
        certain = not any(event.estimated for event in events)
        self._reserved.pop(reservation, None)
        reservation.release()
        reservation.settle(tokens, money, moment, certain=certain)
        if events and certain and events[-1].status < 400:
            plan.learned.learn(estimate, events[-1].meters.prompt_tokens, events[-1].meters.completion_tokens)
        if plan.by_money:
            for allowance in plan.allowances:
                if text := warning(plan.subscription, allowance, moment):
                    logger.warning(text)
        self._touch(plan)

    async def close(self) -> None:
        """Tell other instances what they do not know yet."""
        if self._sharing is not None:
            await self._sharing.close()

    async def _taken(self, call: Call, plan: Plan, demand: Demand, moment: Moment) -> Reservation:
        """Check and take in one go: there is no await between the last check and the taking."""
        while True:
            self._check(call, plan, demand, moment)
            sharing = self._sharing
            if sharing is None or not sharing.reachable or not self._short(plan, demand, moment):
                break
            for allowance in plan.allowances:
                allowance.want(demand, 1)
            try:
                await sharing.ask(plan.group)
            finally:
                for allowance in plan.allowances:
                    allowance.want(demand, -1)
            moment = self._calendar.moment()
        reservation = Reservation(plan.allowances, demand, moment, moment.now + LEASE)
        call.limit_headers = limit_headers(plan.allowances, moment)
        self._touch(plan)
        return reservation

    def _check(self, call: Call, plan: Plan, demand: Demand, moment: Moment) -> None:
        for allowance in plan.allowances:
            kind = allowance.refusing(demand, moment)
            if kind is not None:
                # Others may have given back meanwhile what they held: ask soon.
                allowance.touched = True
                self._touch(plan)
                call.limit_headers = limit_headers(plan.allowances, moment)
                raise refusal(call.subscription, allowance, kind, demand, moment)

    @staticmethod
    def _short(plan: Plan, demand: Demand, moment: Moment) -> bool:
        return any(allowance.short(demand, moment) for allowance in plan.allowances)

    def _lapse(self, moment: Moment) -> None:
        """Free what reservations hold whose lease is over; they stand in the order of their leases."""
        while self._reserved:
            oldest = next(iter(self._reserved))
            if oldest.until > moment.now:
                return
            del self._reserved[oldest]
            oldest.lapse()

    def _touch(self, plan: Plan) -> None:
        if self._sharing is not None:
            self._sharing.touch(plan.group)
