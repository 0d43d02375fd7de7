"""Limits across instances: each tells a shared row what it took, and learns from it what the others took.

No request touches storage. A task of this module's own tells the rows ahead of need, when half of a slice is used, and
brings leases for requests that need more than their instance may take on its own word. An instance is never further
ahead of the row than one slice, so all of them together exceed a limit by one slice each at most.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Final, Protocol

import msgspec

from gateway.limits.limits import Allowance, units
from gateway.limits.periods import Calendar, Moment
from gateway.limits.rows import Author, History, LimitRow, Update, read_row, to_entity, update_row
from seams.clock import Clock
from seams.tables import Entity, Insert, Operation, Replace, Table, TableConflict, Tables, TableUnavailable

TABLE: Final = "limits"
WHOLE: Final = "-all"
"""The row of what is limited over all deployments; no deployment has such a name."""

TICK: Final = 0.25
NEAR_SECONDS: Final = 1.0
FAR_SECONDS: Final = 5.0
RENEW_SECONDS: Final = 20.0
"""Between tellings: with more than half of a limit used, with less, and of what is merely still held."""

EXCHANGE_SECONDS: Final = 2.0
"""For one telling, conflicts with other instances included; longer counts as an outage."""

LONGEST_PAUSE: Final = 30.0
AT_ONCE: Final = 8

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


class Sharing:
    """`instance` names this process among all that share the tables."""

    def __init__(
        self, tables: Tables, clock: Clock, charges: Charges, *, instance: str, random: Callable[[], float]
    ) -> None:
        self._tables = tables
        self._clock = clock
        self._charges = charges
        self._instance = instance
        self._random = random
        self._calendar = Calendar(clock)
        self._table: Table | None = None
        self._active: set[Group] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ticker: asyncio.Task[None] | None = None
        self._room = asyncio.Semaphore(AT_ONCE)
        self._sequence = 0
        self._failures = 0
        self._paused_until = -math.inf

    @property
    def reachable(self) -> bool:
        """Tell whether the latest telling succeeded; if not, each instance goes by what it has and saw."""
        return not self._failures

    def touch(self, group: Group) -> None:
        """Have the group told in due time."""
        self._active.add(group)
        if self._ticker is None:
            self._ticker = self._own(self._tick())

    async def ask(self, group: Group) -> None:
        """Wait until the rows were told and read once more, or could not be."""
        self.touch(group)
        answer = asyncio.get_running_loop().create_future()
        group.waiting.append(answer)
        self._tell_soon(group)
        try:
            async with asyncio.timeout(2 * EXCHANGE_SECONDS):
                await answer
        except TimeoutError:
            self._failed("the queue for it is too long")

    async def close(self) -> None:
        """Tell what is left to tell."""
        if self._ticker is not None:
            self._ticker.cancel()
        running = [group.task for group in self._active if group.task is not None]
        await asyncio.gather(*running, return_exceptions=True)
        for group in self._active:
            if self.reachable and any(allowance.touched for allowance in group.allowances.values()):
                await self._tell(group)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _own(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            now = self._clock.monotonic()
            if now >= self._paused_until:
                for group in [group for group in self._active if self._due(group, now)]:
                    self._tell_soon(group)

    def _due(self, group: Group, now: float) -> bool:
        allowances = group.allowances.values()
        if any(allowance.pressing() for allowance in allowances):
            return True
        touched = any(allowance.touched for allowance in allowances)
        if not touched and not any(allowance.holding() for allowance in allowances):
            self._active.discard(group)
            return False
        since = now - group.at
        if touched and since >= NEAR_SECONDS:
            moment = self._calendar.moment()
            return since >= FAR_SECONDS or any(allowance.near(moment) for allowance in allowances)
        return since >= RENEW_SECONDS

    def _tell_soon(self, group: Group) -> None:
        if group.task is None:
            group.task = self._own(self._tell_all(group))

    async def _tell_all(self, group: Group) -> None:
        try:
            asked = True
            while asked:
                asked = bool(group.waiting)
                await self._tell(group)
                # Those who waited for this take what they came for. A lease that they leave goes back at once.
                await asyncio.sleep(0)
                unused = asked and any(allowance.leasing() for allowance in group.allowances.values())
                asked = bool(group.waiting) or unused
        finally:
            group.task = None
            _answer(group.waiting)

    async def _tell(self, group: Group) -> None:
        async with self._room:
            waiting, group.waiting = group.waiting, []
            try:
                async with asyncio.timeout(EXCHANGE_SECONDS):
                    await self._exchange(group)
            except (TimeoutError, TableUnavailable) as error:
                self._failed(str(error) or f"no answer within {EXCHANGE_SECONDS:g} seconds")
            except Exception:
                logger.exception("Telling the limits of %s failed", group.name)
                self._failed("an error of ours")
            else:
                self._succeeded()
            finally:
                group.at = self._clock.monotonic()
                _answer(waiting)

    async def _exchange(self, group: Group) -> None:
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

    def _failed(self, why: str) -> None:
        now = self._clock.monotonic()
        if now >= self._paused_until:
            if not self._failures:
                logger.warning("Limits are not shared between instances for now: %s", why)
            self._failures += 1
            self._paused_until = now + min(2.0**self._failures, LONGEST_PAUSE)

    def _succeeded(self) -> None:
        if self._failures:
            logger.warning("Limits are shared between instances again")
        self._failures = 0
        self._paused_until = -math.inf


def _answer(waiting: list[asyncio.Future[None]]) -> None:
    for each in waiting:
        if not each.done():
            each.set_result(None)


def _read(group: Group, name: str, entity: Entity | None) -> LimitRow:
    try:
        return read_row(entity)
    except msgspec.DecodeError:
        logger.exception("The limits row %s of %s is damaged; it begins anew", name, group.name)
        return read_row(None)


def _operation(group: Group, name: str, before: Entity | None) -> Operation:
    entity = to_entity(group.name, name, group.pending[name].row, before.etag if before else None)
    return Insert(entity) if before is None else Replace(entity)
