"""What a subscription may take, in all or of one deployment: reserve, settle, refund. Pure: the time is an argument.

Checking and taking happen in one go, with no await between them, so that on one instance no limit is ever exceeded.
A reservation that nobody settles lapses with its lease: what it held is free again.
"""

from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal
from enum import IntEnum
from typing import Final, NamedTuple

from gateway.catalog.catalog import DeploymentLimits, Period
from gateway.limits.balances import Balance
from gateway.limits.periods import Moment
from gateway.limits.windows import Entry, Window

MONEY_UNIT: Final = Decimal("1E-10")
"""Of a US dollar: what a statement's lines are rounded to. Amounts of money are whole units of it."""

RATE_SLICE: Final = 10
PERIOD_SLICE: Final = 100
"""A slice is the limit divided by this: what an instance may take beyond what the shared row knows."""

type Counter = Window | Balance

type Taking = tuple[Kind, Counter, Entry | None]
"""What a reservation took from one counter: the counter as it was then, and the place in a window."""


class Kind(IntEnum):
    REQUESTS = 0
    TOKENS = 1
    CONCURRENT = 2
    QUOTA = 3
    BUDGET = 4


class Demand(NamedTuple):
    """What one request may come to, in the order of Kind; money in MONEY_UNIT."""

    requests: int = 1
    tokens: int = 0
    concurrent: int = 1
    quota: int = 0
    money: int = 0


def units(amount: Decimal, *, up: bool = False) -> int:
    """Return money in whole units, rounded half to even, or up where it is a limit's use that is estimated."""
    return int((amount / MONEY_UNIT).to_integral_value(ROUND_CEILING if up else ROUND_HALF_EVEN))


class Allowance:
    """The counters of one scope; `row` is its name in the shared table. Only what is limited has a counter.

    `checked` are the counters that can refuse a request: all but a budget that is not hard. `touched`: there is
    something to tell other instances, or to ask of them. `warned`: the periods whose budget was seen to be used up.
    """

    def __init__(self, row: str, limits: DeploymentLimits) -> None:
        self.row = row
        self.touched = True
        self.warned: set[int] = set()
        self.requests: Window | None = None
        self.tokens: Window | None = None
        self.concurrent: Balance | None = None
        self.quota: Balance | None = None
        self.budget: Balance | None = None
        self.checked: tuple[tuple[Kind, Counter], ...] = ()
        self.limit(limits)

    def limit(self, limits: DeploymentLimits) -> None:
        """Set the limits; what was taken stays taken where its kind is still limited."""
        self.limits = limits
        rates, quota, budget = limits.limits, limits.quota, limits.budget
        self.requests = _window(self.requests, rates.requests_per_minute)
        self.tokens = _window(self.tokens, rates.tokens_per_minute)
        self.concurrent = _balance(self.concurrent, rates.concurrent, None, RATE_SLICE)
        per = quota.per if quota else None
        self.quota = _balance(self.quota, quota.tokens if quota else None, per, PERIOD_SLICE)
        per = budget.per if budget else None
        self.budget = _balance(self.budget, units(budget.amount) if budget else None, per, PERIOD_SLICE)
        counters: tuple[Counter | None, ...] = (self.requests, self.tokens, self.concurrent, self.quota, self.budget)
        self.checked = tuple(
            (kind, counter)
            for kind, counter in zip(Kind, counters, strict=True)
            if counter is not None and (kind is not Kind.BUDGET or self.hard)
        )

    @property
    def hard(self) -> bool:
        return self.limits.budget is not None and self.limits.budget.hard

    @property
    def periodic(self) -> tuple[Balance, ...]:
        """The counters that go by the calendar."""
        return tuple(balance for balance in (self.quota, self.budget) if balance is not None)

    def refusing(self, demand: Demand, moment: Moment) -> Kind | None:
        """Return the first limit that the demand does not fit in."""
        for kind, counter in self.checked:
            if not counter.fits(demand[kind], moment):
                return kind
        return None

    def short(self, demand: Demand, moment: Moment) -> bool:
        """Tell whether the shared row has to be asked before the demand may be taken."""
        for kind, counter in self.checked:
            if counter.short(demand[kind]) or (kind >= Kind.QUOTA and _unknown(counter, moment)):
                return True
        return False

    def want(self, demand: Demand, sign: int) -> None:
        """Ask for a lease on what the demand comes to, or take that back with -1."""
        for kind, counter in self.checked:
            counter.wanted += sign * demand[kind]

    def take(self, demand: Demand, moment: Moment) -> list[Taking]:
        """Take the demand; it was found to fit."""
        self.touched = True
        taken: list[Taking] = []
        for kind, counter in self.checked:
            if isinstance(counter, Window):
                taken.append((kind, counter, counter.take(demand[kind], moment)))
            else:
                counter.take(demand[kind])
                taken.append((kind, counter, None))
        return taken

    def pressing(self) -> bool:
        """Tell whether half of a slice is used: then it is time to tell the shared row, ahead of need."""
        return any(counter.untold > 0 and counter.untold * 2 >= counter.ahead for _, counter in self.checked)

    def holding(self) -> bool:
        """Tell whether anything is held that other instances must go on hearing of."""
        return any(isinstance(counter, Balance) and counter.held for _, counter in self.checked)

    def leasing(self) -> bool:
        """Tell whether there is a lease that nobody has used."""
        return any(counter.untold < 0 for _, counter in self.checked)

    def near(self, moment: Moment) -> bool:
        """Tell whether more than half of a limit is used."""
        return any(counter.total(moment) * 2 > counter.limit for _, counter in self.checked)


class Reservation:
    """What one call took. `release` when its answer is over, `settle` when its use is known.

    `until` is when its lease ends, in monotonic seconds.
    """

    __slots__ = ("_allowances", "_demand", "_held", "_running", "_settled", "_taken", "until")

    def __init__(self, allowances: tuple[Allowance, ...], demand: Demand, moment: Moment, until: float) -> None:
        self._allowances = allowances
        self._demand = demand
        self._running = self._held = True
        self._settled = False
        self._taken = [taking for allowance in allowances for taking in allowance.take(demand, moment)]
        self.until = until

    def release(self) -> None:
        """Give the place among the requests at once back."""
        if self._running:
            self._running = False
            self._give_back(Kind.CONCURRENT)

    def settle(self, tokens: int, money: int, moment: Moment, *, certain: bool = True) -> None:
        """Put what was used, at this moment, in place of what was held. Uncertain tokens give a rate no refund."""
        if self._settled:
            return
        self._settled = True
        self._let_go()
        difference = tokens - self._demand.tokens
        for kind, counter, entry in self._taken:
            if kind is Kind.TOKENS and isinstance(counter, Window) and entry and (certain or difference > 0):
                counter.adjust(entry, difference, moment)
        for allowance in self._allowances:
            if allowance.quota is not None:
                allowance.quota.settle(tokens, moment)
            if allowance.budget is not None:
                allowance.budget.settle(money, moment)

    def lapse(self) -> None:
        """Free what is held: the lease is over. A settlement that still comes counts in full."""
        self.release()
        self._let_go()

    def _let_go(self) -> None:
        if self._held:
            self._held = False
            self._give_back(Kind.QUOTA, Kind.BUDGET)

    def _give_back(self, *kinds: Kind) -> None:
        for kind, counter, entry in self._taken:
            if entry is None and kind in kinds and isinstance(counter, Balance):
                counter.release(self._demand[kind])
        for allowance in self._allowances:
            allowance.touched = True


def _window(window: Window | None, limit: int | None) -> Window | None:
    if limit is None:
        return None
    ahead = max(1, limit // RATE_SLICE)
    if window is None:
        return Window(limit, ahead)
    window.limit, window.ahead = limit, ahead
    return window


def _balance(balance: Balance | None, limit: int | None, per: Period | None, slices: int) -> Balance | None:
    if limit is None:
        return None
    ahead = max(1, limit // slices)
    if balance is None or balance.per != per:
        return Balance(limit, ahead, per)
    balance.limit, balance.ahead = limit, ahead
    return balance


def _unknown(counter: Counter, moment: Moment) -> bool:
    return isinstance(counter, Balance) and counter.unknown(moment)
