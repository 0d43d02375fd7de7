"""Statements: a subscription's month, summed from its rollups and orphans and priced.

Each rollup is priced by itself, exactly, since its tiers decide its price; then lanes and tiers are summed to lines of
a day, deployment and model. A line's amount is rounded once, half to even, to ten decimals, far below the price of one
token. The total adds up the amounts that are shown, so that whoever checks the sum gets it.
"""

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final, NamedTuple

from chargeback import periods
from chargeback.closing.partitions import PartitionIndex
from chargeback.deadletters.deadletters import UNATTRIBUTED
from chargeback.ledger.rollups import METERS, Rollup
from chargeback.orphans import orphans
from chargeback.prices import CURRENCY, Price, Prices
from chargeback.statements.models import Avoided, Statement, StatementLine, Tokens, Units, UnpricedUsage
from chargeback.statements.sums import price_of, used
from seams.tables import Tables

_PLACES: Final = Decimal("1E-10")
_TOKENS: Final = tuple(Tokens.model_fields)
_UNITS: Final = tuple(Units.model_fields)
_SHOWN: Final = ("requests", "estimated_requests", "orphaned_requests", "further_attempts", *_TOKENS, *_UNITS)


type Known = Callable[[str], Awaitable[bool]]
"""Tells whether there is a subscription of this name now."""


class _LineKey(NamedTuple):
    day: date
    deployment: str
    model: str


class _UnpricedKey(NamedTuple):
    deployment: str
    model: str
    model_version: str
    deployment_type: str
    service_tier: str


@dataclass(slots=True)
class _Saved:
    """What the cache saved, by the names on the wire, and the exact amount so far."""

    counts: Counter[str] = field(default_factory=Counter)
    amount: Decimal = Decimal(0)

    def add(self, rollup: Rollup, price: Price | None) -> None:
        self.counts.update(dict(zip(METERS, rollup.avoided, strict=True)))
        self.counts["requests"] += rollup.avoided_requests
        if price is None:
            self.counts["unpriced_requests"] += rollup.avoided_requests
        else:
            self.amount += price.amount

    def shown(self, amount: str) -> Avoided:
        counts = {name: self.counts[name] for name in ("requests", "unpriced_requests", *_TOKENS, *_UNITS)}
        return Avoided.model_validate(counts | {"amount": amount})


@dataclass(slots=True)
class _Sums:
    """Counts by the names they have on the wire, and the exact amount so far."""

    counts: Counter[str] = field(default_factory=Counter)
    amount: Decimal = Decimal(0)
    saved: _Saved = field(default_factory=_Saved)

    def add(self, rollup: Rollup, price: Price | None) -> None:
        counts = dict(zip(METERS, rollup.meters, strict=True))
        counts |= {
            "requests": rollup.requests,
            "estimated_requests": rollup.estimated_requests,
            "orphaned_requests": rollup.requests if rollup.names.lane == orphans.LANE else 0,
            "further_attempts": rollup.events - rollup.requests,
        }
        if price is None:
            counts["unpriced_requests"] = rollup.requests
        else:
            self.amount += price.amount
            counts["provisioned_requests"] = rollup.requests if price.provisioned else 0
        self.counts.update(counts)

    def shown(self, *names: str) -> dict[str, int]:
        return {name: self.counts[name] for name in (*_SHOWN, *names)}


class Statements:
    """Reads the rollups in `tables` and prices them."""

    def __init__(self, tables: Tables, prices: Prices, known: Known) -> None:
        self._tables = tables
        self._prices = prices
        self._known = known
        self._index = PartitionIndex(tables)

    async def month(self, subscription: str, period: str) -> Statement:
        """Return the statement of a month, yyyy-mm in UTC; one without use has zeros.

        That of UNATTRIBUTED is what events name nobody for, and what they name a subscription for that nobody has: it
        and the statements of all subscriptions are the whole bill.

        Raises PeriodInvalid and TableUnavailable.
        """
        periods.first_day(period)
        names = [subscription]
        if subscription == UNATTRIBUTED and not await self._known(subscription):
            names += [name for name in await self._index.subscriptions(period) if not await self._known(name)]
        month = [rollup for name in dict.fromkeys(names) async for rollup in used(self._tables, name, period)]
        return self._statement(subscription, period, month)

    def _statement(self, subscription: str, period: str, month: Iterable[Rollup]) -> Statement:
        totals = _Sums()
        lines: defaultdict[_LineKey, _Sums] = defaultdict(_Sums)
        unpriced: defaultdict[_UnpricedKey, _Sums] = defaultdict(_Sums)
        for rollup in month:
            names = rollup.names
            price = price_of(names, rollup.usage(), self._prices)
            if price is None:
                unpriced[_UnpricedKey(*[getattr(names, name) for name in _UnpricedKey._fields])].add(rollup, None)
            line = lines[_LineKey(names.day, names.deployment, names.model)]
            line.add(rollup, price)
            totals.add(rollup, price)
            if rollup.avoided_requests:
                saved = price_of(names, rollup.saved(), self._prices)
                line.saved.add(rollup, saved)
                totals.saved.add(rollup, saved)
        shown = [_line(key, sums) for key, sums in sorted(lines.items())]
        return Statement(
            subscription=subscription,
            period=period,
            currency=CURRENCY,
            total=_total(line.amount for line in shown),
            requests=totals.counts["requests"],
            tokens=Tokens(**{name: totals.counts[name] for name in _TOKENS}),
            avoided=totals.saved.shown(_total(line.avoided.amount for line in shown)),
            lines=shown,
            unpriced=[
                UnpricedUsage.model_validate(key._asdict() | sums.shown()) for key, sums in sorted(unpriced.items())
            ],
        )


def _line(key: _LineKey, sums: _Sums) -> StatementLine:
    counts = sums.shown("provisioned_requests", "unpriced_requests")
    avoided = sums.saved.shown(_shown_amount(sums.saved.amount))
    return StatementLine.model_validate(
        key._asdict() | counts | {"amount": _shown_amount(sums.amount), "avoided": avoided}
    )


def _total(amounts: Iterable[str]) -> str:
    """Add amounts up as they are shown."""
    return _shown_amount(sum(map(Decimal, amounts), Decimal(0)))


def _shown_amount(amount: Decimal) -> str:
    return f"{amount.quantize(_PLACES, ROUND_HALF_EVEN):f}"
