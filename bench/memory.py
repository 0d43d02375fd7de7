"""Tables in memory: what is left of a call when the store costs nothing."""

from collections.abc import AsyncIterator, Sequence
from itertools import count

from seams.tables import Delete, Entity, Insert, Operation, Replace, Table, TableConflict, check_operations


class MemoryTables:
    def __init__(self) -> None:
        self._tables: dict[str, MemoryTable] = {}

    async def table(self, name: str) -> Table:
        return self._tables.setdefault(name, MemoryTable())

    async def close(self) -> None:
        return


class MemoryTable(Table):
    """Keeps to the contract of `seams.tables`, but does not undo the first operations of a transaction that fails."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], Entity] = {}
        self._etags = count()

    async def get(self, partition: str, row: str) -> Entity | None:
        return self._rows.get((partition, row))

    async def query(
        self,
        partition: str | None = None,
        first: str = "",
        end: str | None = None,
        columns: Sequence[str] | None = None,  # noqa: ARG002 - all columns are at hand
        *,
        in_order: bool = False,  # noqa: ARG002 - they always are
    ) -> AsyncIterator[Entity]:
        for (part, row), entity in sorted(self._rows.items(), key=lambda item: item[0]):
            if partition in (None, part) and first <= row and (end is None or row < end):
                yield entity

    async def transact(self, operations: Sequence[Operation]) -> list[str | None]:
        check_operations(operations)
        return [self._apply(operation) for operation in operations]

    def _apply(self, operation: Operation) -> str | None:
        subject = operation if isinstance(operation, Delete) else operation.entity
        place = (subject.partition, subject.row)
        found = self._rows.get(place)
        if isinstance(operation, Insert) and found is not None:
            raise TableConflict("the row exists", 0)
        if isinstance(operation, Replace | Delete) and (found is None or subject.etag not in (None, found.etag)):
            raise TableConflict("the row is another one", 0)
        if isinstance(operation, Delete):
            del self._rows[place]
            return None
        etag = str(next(self._etags))
        self._rows[place] = Entity(operation.entity.partition, operation.entity.row, operation.entity.values, etag)
        return etag
