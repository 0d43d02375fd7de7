"""The shared rows of limits: one per subscription and scope in the table `limits`, changed under its ETag.

PartitionKey is the subscription, RowKey the scope. A row has what all instances took by the second of the last minute,
what they settled by the period, and what each of them holds at the moment, with a lease: an instance that was killed
holds nothing any more when it ends. Each column is JSON. Pure: no I/O, the time is an argument.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec

from gateway.limits.balances import Balance, BalanceUpdate
from gateway.limits.limits import Allowance
from gateway.limits.periods import Moment
from gateway.limits.windows import Window, WindowUpdate
from seams.tables import Entity, Value

LEASE: Final = 60
"""Seconds that an instance's holdings count without being renewed."""

REMEMBERED: Final = 600
"""Seconds that an instance's entry is kept after its lease, so that it can tell whether its last write took place."""


class Holding(msgspec.Struct, array_like=True, frozen=True):
    """What an instance holds, `until` in seconds since 1970; `sequence` numbers its writes."""

    until: int
    sequence: int
    concurrent: int = 0
    quota: int = 0
    budget: int = 0


@dataclass(frozen=True, slots=True)
class LimitRow:
    """Amounts by wall-clock second or by the ordinal of the period's first day; holdings by instance."""

    requests: Mapping[int, int]
    tokens: Mapping[int, int]
    quota: Mapping[int, int]
    budget: Mapping[int, int]
    held: Mapping[str, Holding]


@dataclass(frozen=True, slots=True)
class Update:
    """A row as it is to be written, and what its instance knows when that has happened."""

    row: LimitRow
    sequence: int
    windows: tuple[tuple[Window, WindowUpdate], ...]
    balances: tuple[tuple[Balance, BalanceUpdate], ...]

    def accept(self, moment: Moment) -> None:
        for window, update in self.windows:
            window.accept(update, moment)
        for balance, change in self.balances:
            balance.accept(change)


_amounts: Final = msgspec.json.Decoder(dict[int, int]).decode
_holdings: Final = msgspec.json.Decoder(dict[str, Holding]).decode


def read_row(entity: Entity | None) -> LimitRow:
    """Return a row's content; an empty one where there is none. Raises msgspec.DecodeError for one that is damaged."""
    columns: Mapping[str, Value] = entity.values if entity else {}

    def amounts(name: str) -> dict[int, int]:
        return _amounts(str(columns.get(name, "{}")))

    held = _holdings(str(columns.get("held", "{}")))
    return LimitRow(amounts("requests"), amounts("tokens"), amounts("quota"), amounts("budget"), held)


def to_entity(partition: str, name: str, row: LimitRow, etag: str | None) -> Entity:
    columns = {
        "requests": row.requests,
        "tokens": row.tokens,
        "quota": row.quota,
        "budget": row.budget,
        "held": row.held,
    }
    return Entity(partition, name, {key: msgspec.json.encode(value).decode() for key, value in columns.items()}, etag)


class Author(NamedTuple):
    """Who writes, and which of its writes it is."""

    instance: str
    sequence: int


class History(NamedTuple):
    """What the ledger says of the current periods: tokens of the quota's, units of money of the budget's."""

    quota: int = 0
    budget: int = 0


NO_HISTORY: Final = History()


def update_row(
    allowance: Allowance, row: LimitRow, author: Author, moment: Moment, history: History = NO_HISTORY
) -> Update:
    """Return how the author writes what it took into the row."""
    others = [each for name, each in row.held.items() if name != author.instance and each.until > moment.wall]
    until = max((each.until for each in others), default=0)

    def window(of: Window | None, old: Mapping[int, int]) -> WindowUpdate | None:
        return None if of is None else of.update(old, moment)

    def balance(of: Balance | None, old: Mapping[int, int], held: int, said: int) -> BalanceUpdate | None:
        return None if of is None else of.update(old, held, until, moment, said)

    requests = window(allowance.requests, row.requests)
    tokens = window(allowance.tokens, row.tokens)
    concurrent = balance(allowance.concurrent, {}, sum(each.concurrent for each in others), 0)
    quota = balance(allowance.quota, row.quota, sum(each.quota for each in others), history.quota)
    budget = balance(allowance.budget, row.budget, sum(each.budget for each in others), history.budget)
    held = {name: each for name, each in row.held.items() if each.until + REMEMBERED > moment.wall}
    held[author.instance] = Holding(
        int(moment.wall) + LEASE, author.sequence, *(each.held if each else 0 for each in (concurrent, quota, budget))
    )
    return Update(
        LimitRow(
            requests=requests.row if requests else {},
            tokens=tokens.row if tokens else {},
            # A limit that is taken away and set again finds its period as it was.
            quota=quota.row if quota else row.quota,
            budget=budget.row if budget else row.budget,
            held=held,
        ),
        author.sequence,
        _pairs((allowance.requests, requests), (allowance.tokens, tokens)),
        _pairs((allowance.concurrent, concurrent), (allowance.quota, quota), (allowance.budget, budget)),
    )


def _pairs[Counter, Change](*pairs: tuple[Counter | None, Change | None]) -> tuple[tuple[Counter, Change], ...]:
    return tuple((counter, change) for counter, change in pairs if counter is not None and change is not None)
