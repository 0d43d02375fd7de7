"""One telling: a subscription's rows are read, and written with what this instance took, until no other was first."""

import asyncio
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Final, Protocol

import msgspec

from gateway.limits.limits import Allowance, units
from gateway.limits.periods import Calendar, Moment
from gateway.limits.rows import Author, History, LimitRow, Update, read_row, to_entity, update_row
from seams.tables import Entity, Insert, Operation, Replace, Table, TableConflict, Tables

TABLE: Final = "limits"
WHOLE: Final = "-all"
"""The row of what is limited over all deployments; no deployment has such a name."""

logger = logging.getLogger(__name__)


class Charges(Protocol):
    """What was charged: the counters of a period begin there, so that a new start does not forget the month."""

    async def used(self, subscription: str, deployment: str | None, first: date) -> tuple[int, Decimal]:
        """Return tokens and money since this day; of all deployments where none is named. Raises TableUnavailable."""
        ...


@dataclass(eq=False)
class Group:
    """One subscription's allowances by their rows. `at` is when it was told last, in monotonic seconds."""

    name: str
    allowances: dict[str, Allowance] = field(default_factory=dict)
    waiting: list[asyncio.Future[None]] = field(default_factory=list)
    pending: dict[str, Update] = field(default_factory=dict)
    at: float = -math.inf
    task: asyncio.Task[None] | None = None


class Telling:
    """`instance` names this process among all that share the tables."""

    def __init__(
        self, tables: Tables, calendar: Calendar, charges: Charges, instance: str, random: Callable[[], float]
    ) -> None:
        self._tables = tables
        self._calendar = calendar
        self._charges = charges
        self._instance = instance
        self._random = random
        self._table: Table | None = None
        self._sequence = 0

    async def exchange(self, group: Group) -> None:
        """Tell the rows and learn from them. Raises TableUnavailable."""
        if self._table is None:
            self._table = await self._tables.table(TABLE)
        conflicts = 0
        while not await self._write(self._table, group):
            conflicts += 1
            await asyncio.sleep(self._random() * min(0.1, 0.002 * 2**conflicts))

    async def _write(self, table: Table, group: Group) -> bool:
        """Read the group's rows and write them; return False where another instance was first."""
        found = {entity.row: entity async for entity in table.query(group.name)}
        rows = {name: _read(group, name, found.get(name)) for name in group.allowances}
        history = {name: await self._history(group, allowance) for name, allowance in group.allowances.items()}
        moment = self._calendar.moment()
        self._recall(group, rows, moment)
        self._sequence += 1
        author = Author(self._instance, self._sequence)
        for name, allowance in group.allowances.items():
            # Settled requests before this line are in the update; those after it touch the allowance again.
            allowance.touched = False
            group.pending[name] = update_row(allowance, rows[name], author, moment, history[name])
        try:
            await table.transact([_operation(group, name, found.get(name)) for name in group.pending])
        except TableConflict:
            group.pending.clear()
            return False
        except BaseException:
            for allowance in group.allowances.values():
                allowance.touched = True
            raise
        self._accept(group, moment)
        return True

    def _recall(self, group: Group, rows: dict[str, LimitRow], moment: Moment) -> None:
        """Find out whether a write whose answer never came took place: then its number stands in the row."""
        for name, update in list(group.pending.items()):
            mine = rows[name].held.get(self._instance) if name in rows else None
            if mine is None or mine.sequence != update.sequence:
                del group.pending[name]
        self._accept(group, moment)

    @staticmethod
    def _accept(group: Group, moment: Moment) -> None:
        for update in group.pending.values():
            update.accept(moment)
        group.pending.clear()

    async def _history(self, group: Group, allowance: Allowance) -> History:
        """Return what was charged in periods whose row this instance has not read yet."""
        moment = self._calendar.moment()
        deployment = None if allowance.row == WHOLE else allowance.row
        tokens = money = 0
        for balance in allowance.periodic:
            if balance.unknown(moment):
                first = date.fromordinal(balance.start(moment))
                used, amount = await self._charges.used(group.name, deployment, first)
                tokens = used if balance is allowance.quota else tokens
                money = units(amount) if balance is allowance.budget else money
        return History(tokens, money)


def _read(group: Group, name: str, entity: Entity | None) -> LimitRow:
    try:
        return read_row(entity)
    except msgspec.DecodeError:
        logger.exception("The limits row %s of %s is damaged; it begins anew", name, group.name)
        return read_row(None)


def _operation(group: Group, name: str, before: Entity | None) -> Operation:
    entity = to_entity(group.name, name, group.pending[name].row, before.etag if before else None)
    return Insert(entity) if before is None else Replace(entity)
