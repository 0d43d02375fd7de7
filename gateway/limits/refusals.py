"""What a caller is told of its limits: the refusal with whom to ask, and the headers of every answer."""

import math
from collections.abc import Callable
from decimal import Decimal
from operator import attrgetter
from typing import Final

from gateway.catalog.catalog import Period, Subscription
from gateway.errors import BudgetExceeded, GatewayError, QuotaExceeded, RateLimited
from gateway.limits.limits import MONEY_UNIT, Allowance, Demand, Kind
from gateway.limits.periods import Moment, end
from gateway.limits.telling import WHOLE
from gateway.limits.windows import Window

CONCURRENT_WAIT: Final = 1.0
"""Seconds: when one of the requests under way will end, nobody knows."""

_NAMES: Final = {Kind.REQUESTS: "requests per minute", Kind.TOKENS: "tokens per minute", Kind.CONCURRENT: "at once"}


def refusal(
    subscription: Subscription, allowance: Allowance, kind: Kind, demand: Demand, moment: Moment
) -> GatewayError:
    """Return the error for a demand that does not fit in this limit."""
    scope = f"The subscription {subscription.name}"
    if allowance.row != WHOLE:
        scope += f", for the deployment {allowance.row},"
    match kind:
        case Kind.QUOTA | Kind.BUDGET:
            return _spent(scope, subscription, allowance, kind, moment)
        case Kind.CONCURRENT:
            limit = allowance.concurrent.limit if allowance.concurrent else 0
            return RateLimited(
                f"{scope} has its {limit} requests at once under way; try again when one is over.",
                retry_after=CONCURRENT_WAIT,
            )
    window = allowance.requests if kind is Kind.REQUESTS else allowance.tokens
    wait = window.wait(demand[kind], moment) if window else 0.0
    limit = window.limit if window else 0
    return RateLimited(
        f"{scope} is at its limit of {limit} {_NAMES[kind]}; try again in {wait:.1f} seconds.", retry_after=wait
    )


def too_large(subscription: Subscription, tokens: int, limit: int) -> RateLimited:
    """Return the error for a request that would not even fit into an empty minute."""
    return RateLimited(
        f"The request may be answered with {tokens} tokens, and the subscription {subscription.name} has {limit} "
        f"tokens per minute here; ask for fewer, by max_completion_tokens, max_output_tokens or max_tokens.",
        retry_after=None,
    )


def warning(subscription: Subscription, allowance: Allowance, moment: Moment) -> str:
    """Return what to log when a budget is crossed: once per period, else nothing."""
    budget, balance = allowance.limits.budget, allowance.budget
    if budget is None or balance is None or balance.settled(moment) <= balance.limit:
        return ""
    start = balance.start(moment)
    if start in allowance.warned:
        return ""
    allowance.warned = {start}
    scope = "" if allowance.row == WHOLE else f" for the deployment {allowance.row}"
    return (
        f"Subscription {subscription.name}, cost centre {subscription.cost_centre or 'unknown'}: "
        f"the {budget.per}'s budget of {budget.amount} {budget.currency}{scope} is used up"
    )


def limit_headers(allowances: tuple[Allowance, ...], moment: Moment) -> list[tuple[bytes, bytes]]:
    """Return `x-ratelimit-*` as OpenAI has them, of the limit that leaves least; resets as in `12s`."""
    headers: list[tuple[bytes, bytes]] = []
    for (limit, remaining, reset), window_of in _HEADERS:
        least: Window | None = None
        left = 0
        for allowance in allowances:
            window = window_of(allowance)
            if window is not None and (least is None or window.limit - window.total(moment) < left):
                least, left = window, window.limit - window.total(moment)
        if least is not None:
            headers += (
                (limit, b"%d" % least.limit),
                (remaining, b"%d" % max(0, left)),
                (reset, b"%ds" % math.ceil(least.reset(moment))),
            )
    return headers


type _Names = tuple[bytes, bytes, bytes]

_HEADERS: Final[tuple[tuple[_Names, Callable[[Allowance], Window | None]], ...]] = (
    (
        (b"x-ratelimit-limit-requests", b"x-ratelimit-remaining-requests", b"x-ratelimit-reset-requests"),
        attrgetter("requests"),
    ),
    (
        (b"x-ratelimit-limit-tokens", b"x-ratelimit-remaining-tokens", b"x-ratelimit-reset-tokens"),
        attrgetter("tokens"),
    ),
)


def _spent(scope: str, subscription: Subscription, allowance: Allowance, kind: Kind, moment: Moment) -> GatewayError:
    quota, budget = allowance.limits.quota, allowance.limits.budget
    asked = f"cost centre {subscription.cost_centre}" if subscription.cost_centre else "its cost centre"
    if kind is Kind.QUOTA and quota is not None and allowance.quota is not None:
        left = max(0, allowance.quota.limit - allowance.quota.total(moment))
        what = f"quota of {quota.tokens} tokens per {quota.per}: {left} are left"
        return QuotaExceeded(f"{scope} {_said(what, asked, quota.per, allowance.quota.start(moment))}")
    if budget is not None and allowance.budget is not None:
        money = max(0, allowance.budget.limit - allowance.budget.total(moment)) * MONEY_UNIT
        what = f"budget of {budget.amount} {budget.currency} per {budget.per}: {_shown(money)} are left"
        return BudgetExceeded(f"{scope} {_said(what, asked, budget.per, allowance.budget.start(moment))}")
    raise AssertionError("only a limit that is set refuses")


def _said(what: str, asked: str, per: Period, start: int) -> str:
    return (
        f"cannot be served within its {what}, and this request may come to more. "
        f"Ask {asked} or the platform team. The next {per} begins at {end(per, start):%Y-%m-%dT%H:%M:%SZ}."
    )


def _shown(money: Decimal) -> str:
    return f"{money.quantize(Decimal('0.0001')):f}"
