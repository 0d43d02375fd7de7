"""The index names every partition that the ledger has written, at one write a process."""

from collections.abc import Sequence
from datetime import UTC, date, datetime

import pytest

from chargeback.closing.partitions import PARTITIONS, PartitionIndex
from chargeback.ledger.details import USAGE
from chargeback.ledger.ledger import Ledger
from chargeback.ledger.rollups import ROLLUPS, rollup_partition
from chargeback.prices import Prices
from seams.tables import Operation, Table, Tables, TableUnavailable
from tests.chargeback.staging import Deliver, FailingAt, MakeEvent, incarnation, rows

TODAY = date(2026, 11, 20)


class CountedWrites:
    """A table that counts the rows that are written to it."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self.get = table.get
        self.query = table.query
        self.rows = 0

    async def transact(self, operations: Sequence[Operation]) -> list[str | None]:
        self.rows += len(operations)
        return await self._table.transact(operations)


class OneTable:
    """Tables of which there is only one."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def table(self, name: str) -> Table:
        return self._table

    async def close(self) -> None: ...


async def test_every_partition_of_the_ledger_is_named(
    tables: Tables, prices: Prices, make_event: MakeEvent, deliver: Deliver
) -> None:
    """For each month and day the index has exactly the subscriptions whose rows exist, whatever their names."""
    names = ("service-desk", "päivä/#?", "x" * 90)
    times = [
        datetime(2026, 10, 31, 23, tzinfo=UTC),
        datetime(2026, 11, 1, tzinfo=UTC),
        datetime(2026, 11, 20, tzinfo=UTC),
    ]
    events = [make_event(subscription=name, time=time) for name in names for time in times]
    await Ledger(tables, prices, incarnation).collect([deliver(event, n) for n, event in enumerate(events)])

    index = PartitionIndex(tables)
    found = {
        rollup_partition(name, period)
        for period in ("2026-10", "2026-11")
        for name in await index.subscriptions(period)
    }
    assert found == {row.partition for row in await rows(tables, ROLLUPS)}
    november = await index.detail_days(date(2026, 11, 1), date(2026, 12, 1))
    assert sorted((one.subscription, one.day.day) for one in november) == sorted((n, d) for n in names for d in (1, 20))
    assert len(await rows(tables, USAGE)) == len(events)
    assert await index.detail_days(date(2026, 11, 2), date(2026, 11, 20)) == []


async def test_what_is_noted_is_not_written_again(tables: Tables) -> None:
    """A process notes a recent day once, and an old one each time, since its note may have been deleted."""
    table = CountedWrites(await tables.table(PARTITIONS))
    index = PartitionIndex(OneTable(table))
    for _ in range(3):
        await index.note([("a", TODAY)], TODAY)
    assert table.rows == 2
    for _ in range(3):
        await index.note([("a", date(2026, 9, 1))], TODAY)
    assert table.rows == 2 + 3 * 2
    assert [one.subscription for one in await index.detail_days(TODAY, date(2026, 11, 21))] == ["a"]


async def test_a_day_of_many_subscriptions(tables: Tables) -> None:
    """More partitions than a transaction takes are noted in several."""
    names = [f"team-{n:03}" for n in range(250)]
    index = PartitionIndex(tables)
    await index.note([(name, TODAY) for name in names], TODAY)
    assert sorted(await index.subscriptions("2026-11")) == names
    assert [one.subscription for one in await index.detail_days(TODAY, date(2026, 11, 21))] == names


async def test_nothing_is_counted_before_it_is_noted(
    tables: Tables, prices: Prices, make_event: MakeEvent, deliver: Deliver
) -> None:
    """While the index cannot be written the batch fails with nothing counted, and comes again."""
    batch = [deliver(make_event(), 0)]
    with pytest.raises(TableUnavailable):
        await Ledger(FailingAt(tables, PARTITIONS), prices, incarnation).collect(batch)
    assert await rows(tables, ROLLUPS) == []
    await Ledger(tables, prices, incarnation).collect(batch)
    assert len(await rows(tables, USAGE)) == 1
    (noted,) = await PartitionIndex(tables).detail_days(TODAY, date(2026, 11, 21))
    assert (noted.subscription, noted.day) == ("service-desk", TODAY)
