"""A quota, a budget, or the number of requests at once: what is settled in a period, and what is held at the moment.

A request holds what it may come to; when it is over, what it came to is settled in the period of that day and the rest
is free again. Requests at once are held and settle nothing.

What other instances settled and hold comes from the shared row. Pure: the time is an argument.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.catalog.catalog import Period
from gateway.limits.periods import Moment, Starts

KEPT_PERIODS: Final = 3
"""Periods that a balance remembers: a clock that is set back finds the one before."""


@dataclass(frozen=True, slots=True)
class BalanceUpdate:
    """What the shared row becomes, and what this instance knows once it is written. Amounts by their period's start."""

    row: dict[int, int]
    told: dict[int, int]
    others: dict[int, int]
    held: int
    others_held: int
    others_until: float
    untold: int
    lease: int
    start: int


class Balance:
    """`limit` per period, or at once where `per` is None; whole units.

    `ahead`, `untold` and `wanted` are as in Window. `known` has the periods of which the shared row was read.
    """

    __slots__ = (
        "_others", "_others_held", "_others_until", "_place", "_settled", "_told",
        "ahead", "held", "known", "limit", "per", "untold", "wanted",
    )  # fmt: skip

    def __init__(self, limit: int, ahead: int, per: Period | None = None) -> None:
        self.limit = limit
        self.ahead = ahead
        self.per = per
        self._place = None if per is None else Starts._fields.index(per)
        self.held = 0
        self.untold = 0
        self.wanted = 0
        self.known: set[int] = set()
        self._settled: dict[int, int] = {}
        self._told: dict[int, int] = {}
        self._others: dict[int, int] = {}
        self._others_held = 0
        self._others_until = 0.0

    def start(self, moment: Moment) -> int:
        """Return the first day of the current period, as an ordinal; 0 where there are no periods."""
        return 0 if self._place is None else moment.starts[self._place]

    def settled(self, moment: Moment) -> int:
        """Return what all instances settled in the current period, as far as this one knows."""
        start = self.start(moment)
        return self._settled.get(start, 0) + self._others.get(start, 0)

    def total(self, moment: Moment) -> int:
        """Return what is settled and held, as far as this instance knows."""
        others = self._others_held if moment.wall < self._others_until else 0
        return self.settled(moment) + self.held + others

    def fits(self, amount: int, moment: Moment) -> bool:
        return self.total(moment) + (amount or 1) <= self.limit

    def short(self, amount: int) -> bool:
        """Tell whether `amount` is more than this instance may take on its own word."""
        return bool(amount) and self.untold + amount > self.ahead

    def unknown(self, moment: Moment) -> bool:
        """Tell whether the shared row of this period was not read yet."""
        return self.per is not None and self.start(moment) not in self.known

    def take(self, amount: int) -> None:
        self.held += amount
        self.untold += amount

    def release(self, amount: int) -> None:
        self.held -= amount
        self.untold -= amount

    def settle(self, amount: int, moment: Moment) -> None:
        if self.per is not None and amount:
            start = self.start(moment)
            self._settled[start] = self._settled.get(start, 0) + amount
            self._forget(self._settled)
            self.untold += amount

    def update(
        self, row: Mapping[int, int], held: int, until: float, moment: Moment, history: int = 0
    ) -> BalanceUpdate:
        """Return how to write this instance's amounts into the row, with a lease for what waits.

        `held` is what other instances hold, at most `until` (seconds since 1970). `history` is what the ledger says of
        the period; it outweighs a row that says less.
        """
        start = self.start(moment)
        others = {key: max(0, amount - self._told.get(key, 0)) for key, amount in row.items()}
        if history:
            others[start] = max(others.get(start, 0), history - self._settled.get(start, 0))
        told = dict(self._settled)
        free = self.limit - told.get(start, 0) - others.get(start, 0) - held - self.held
        lease = max(0, min(self.wanted, free))
        both = {key: told.get(key, 0) + others.get(key, 0) for key in told.keys() | others.keys()}
        self._forget(both)
        return BalanceUpdate(both, told, others, self.held + lease, held, until, self.untold, lease, start)

    def accept(self, update: BalanceUpdate) -> None:
        """Note that the row was written so."""
        self._told = update.told
        self._others = update.others
        self._others_held = update.others_held
        self._others_until = update.others_until
        self.untold -= update.untold + update.lease
        self.known.add(update.start)

    @staticmethod
    def _forget(periods: dict[int, int]) -> None:
        for old in sorted(periods)[:-KEPT_PERIODS]:
            del periods[old]
