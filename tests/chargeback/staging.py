"""What the tests of the ledger share: reading a store back, and stores with faults."""

import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import date

from chargeback.lanes import lanes
from chargeback.lanes.lane_journal import known_lanes
from chargeback.lanes.lanes import LANES
from chargeback.ledger.rollups import ROLLUPS, from_entity
from gateway.usage import UsageEvent
from seams.events import ReceivedEvent
from seams.tables import Entity, Operation, Table, TableConflict, Tables, TableUnavailable, Upsert

type MakeEvent = Callable[..., UsageEvent]
type Deliver = Callable[..., ReceivedEvent]

NOTHING_AVOIDED = {
    "requests": 0,
    "unpriced_requests": 0,
    "prompt_tokens": 0,
    "cached_tokens": 0,
    "completion_tokens": 0,
    "reasoning_tokens": 0,
    "images": 0,
    "characters": 0,
    "audio_milliseconds": 0,
    "amount": "0.0000000000",
}


async def incarnation() -> str:
    return "2026-11-01T00:00:00Z"


async def everybody(name: str) -> bool:
    """Know every subscription."""
    return True


async def rows(tables: Tables, name: str) -> list[Entity]:
    """Return all rows of a table, in order."""
    return [entity async for entity in (await tables.table(name)).query(in_order=True)]


async def sums(tables: Tables) -> Counter[str]:
    total: Counter[str] = Counter()
    for entity in await rows(tables, ROLLUPS):
        rollup = from_entity(entity)
        total += Counter(events=rollup.events, prompt=rollup.meters[0], completion=rollup.usage().completion_tokens)
    return total


async def books(tables: Tables) -> tuple[Counter[tuple[str, date]], Counter[tuple[str, date]]]:
    """Return usage events by lane and day, as the journal has them and as the rollups have them.

    Checks on the way that the journal leaves out no number.
    """
    journal: Counter[tuple[str, date]] = Counter()
    for lane in await known_lanes(tables):
        follows = 0
        table = await tables.table(LANES)
        async for entity in table.query(lane.key(), "day", "e", in_order=True):
            day = lanes.day_of_entity(entity)
            assert day.begins == follows
            assert day.emitted == day.received + day.missing
            assert day.usage_events == sum(day.event_days.values())
            journal.update({(lane.name, one): count for one, count in day.event_days.items()})
            follows = day.last_seq + 1
    summed: Counter[tuple[str, date]] = Counter()
    for entity in await rows(tables, ROLLUPS):
        rollup = from_entity(entity)
        summed[rollup.names.lane, rollup.names.day] += rollup.events + rollup.duplicates
    return journal, summed


class Renamed:
    """The tables of one test inside a store that others share."""

    def __init__(self, tables: Tables, prefix: str) -> None:
        self._tables = tables
        self._prefix = prefix

    async def table(self, name: str) -> Table:
        return await self._tables.table(self._prefix + name)

    async def close(self) -> None: ...


class FailingAt:
    """Tables of which one cannot be written."""

    def __init__(self, tables: Tables, name: str) -> None:
        self._tables = tables
        self._name = name

    async def table(self, name: str) -> Table:
        table = await self._tables.table(name)
        return ReadOnly(table) if name == self._name else table

    async def close(self) -> None: ...


class ReadOnly:
    def __init__(self, table: Table) -> None:
        self.get = table.get
        self.query = table.query
        self._transact = table.transact

    async def transact(self, operations: Sequence[Operation]) -> list[str | None]:
        raise TableUnavailable("read only")


class Contended(FailingAt):
    """Tables of which one is always changed by a rival first."""

    async def table(self, name: str) -> Table:
        table = await self._tables.table(name)
        return Taken(table) if name == self._name else table


class Taken(ReadOnly):
    async def transact(self, operations: Sequence[Operation]) -> list[str | None]:
        # The list of lanes has no rivals: it is upserted.
        if isinstance(operations[0], Upsert):
            return await self._transact(operations)
        raise TableConflict("taken", 0)


class FaultyTable:
    """Passes calls on; some conflict, some fail before and some after they took place."""

    def __init__(self, table: Table, dice: random.Random) -> None:
        self._table = table
        self._dice = dice

    async def get(self, partition: str, row: str) -> Entity | None:
        self._fail(0.02)
        return await self._table.get(partition, row)

    def query(
        self,
        partition: str | None = None,
        first: str = "",
        end: str | None = None,
        columns: Sequence[str] | None = None,
        *,
        in_order: bool = False,
    ) -> AsyncIterator[Entity]:
        return self._table.query(partition, first, end, columns, in_order=in_order)

    async def transact(self, operations: Sequence[Operation]) -> list[str | None]:
        if self._dice.random() < 0.05:
            raise TableConflict("injected", 0)
        self._fail(0.05)
        etags = await self._table.transact(operations)
        self._fail(0.08)
        return etags

    def _fail(self, share: float) -> None:
        if self._dice.random() < share:
            raise TableUnavailable("injected")


class FaultyTables:
    """Tables whose names begin with a prefix of their own and whose calls fail at random."""

    def __init__(self, tables: Tables, dice: random.Random, prefix: str) -> None:
        self._tables = tables
        self._dice = dice
        self._prefix = prefix

    async def table(self, name: str) -> Table:
        return FaultyTable(await self._tables.table(self._prefix + name), self._dice)

    async def close(self) -> None:
        await self._tables.close()
