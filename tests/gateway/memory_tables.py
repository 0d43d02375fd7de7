"""Tables in memory that can be slow, silent or the last thing a process ever asks."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from seams.tables import (
    Delete,
    Entity,
    Insert,
    Operation,
    Replace,
    Table,
    TableConflict,
    Upsert,
    check_key,
    check_operations,
    part_of,
)

type Rows = dict[tuple[str, str, str], Entity]
type Fault = Callable[[], Awaitable[None]]


async def none() -> None:
    return


class MemoryTables:
    """`before` and `after` are awaited around every call; what they raise is the call's outcome.

    What `after` raises hides that the call took place. `calls` counts them.
    """

    def __init__(self, rows: Rows | None = None) -> None:
        self.rows: Rows = {} if rows is None else rows
        self.before: Fault = none
        self.after: Fault = none
        self.calls = 0
        self.writes = 0

    async def table(self, name: str) -> "MemoryTable":
        return MemoryTable(self, name)

    async def close(self) -> None:
        return


class MemoryTable(Table):
    def __init__(self, tables: MemoryTables, name: str) -> None:
        self._tables = tables
        self._name = name

    async def get(self, partition: str, row: str) -> Entity | None:
        check_key(partition)
        check_key(row)
        self._tables.calls += 1
        await self._tables.before()
        found = self._tables.rows.get((self._name, partition, row))
        await self._tables.after()
        return found

    async def query(
        self,
        partition: str | None = None,
        first: str = "",
        end: str | None = None,
        columns: Sequence[str] | None = None,
        *,
        in_order: bool = False,
    ) -> AsyncIterator[Entity]:
        self._tables.calls += 1
        await self._tables.before()
        # Backwards where nobody asks for an order: nobody may rely on one.
        for (name, part, row), entity in sorted(
            self._tables.rows.items(), key=lambda item: item[0], reverse=not in_order
        ):
            if name == self._name and partition in (None, part) and first <= row and (end is None or row < end):
                yield entity if columns is None else part_of(entity, columns)

    async def transact(self, operations: Sequence[Operation]) -> list[str | None]:
        check_operations(operations)
        self._tables.calls += 1
        await self._tables.before()
        rows = dict(self._tables.rows)
        etags = [self._apply(rows, operation) for operation in operations]
        self._tables.rows.clear()
        self._tables.rows.update(rows)
        await self._tables.after()
        return etags

    def _apply(self, rows: Rows, operation: Operation) -> str | None:
        subject = operation if isinstance(operation, Delete) else operation.entity
        place = (self._name, subject.partition, subject.row)
        found = rows.get(place)
        wrong = {
            Insert: found is not None,
            Replace: found is None or found.etag != subject.etag,
            Upsert: False,
            Delete: found is None or subject.etag not in (None, found.etag),
        }
        if wrong[type(operation)]:
            raise TableConflict(f"{type(operation).__name__} came second", 0)
        if isinstance(operation, Delete):
            del rows[place]
            return None
        self._tables.writes += 1
        etag = f"e{self._tables.writes}"
        rows[place] = Entity(subject.partition, subject.row, dict(operation.entity.values), etag)
        return etag
