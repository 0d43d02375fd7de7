"""Tables whose rows come in no order, as those of Cosmos DB do."""

from collections.abc import AsyncIterator, Sequence

from seams.tables import Entity, Operation, Table, Tables


class UnorderedTables:
    """Other tables, with the last rows first unless an order is asked for."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def table(self, name: str) -> Table:
        return UnorderedTable(await self._tables.table(name))

    async def close(self) -> None:
        await self._tables.close()


class UnorderedTable(Table):
    def __init__(self, table: Table) -> None:
        self._table = table

    async def get(self, partition: str, row: str) -> Entity | None:
        return await self._table.get(partition, row)

    async def query(
        self,
        partition: str | None = None,
        first: str = "",
        end: str | None = None,
        columns: Sequence[str] | None = None,
        *,
        in_order: bool = False,
    ) -> AsyncIterator[Entity]:
        rows = [row async for row in self._table.query(partition, first, end, columns, in_order=in_order)]
        for row in rows if in_order else reversed(rows):
            yield row

    async def transact(self, operations: Sequence[Operation]) -> list[str | None]:
        return await self._table.transact(operations)
