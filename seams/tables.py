"""Rows in partitions, changed under ETags: the part of Azure Table storage that Tollgate is written against.

Limits that every implementation keeps, so that the code runs on Table storage, Cosmos DB's Table API and SQLite alike:
keys of 1 to 254 bytes in UTF-8 without slashes, `#`, `?` and control characters; at most 100 operations in a
transaction, all of one partition, no row twice, and by `size_of` no more than 1 MB where they are several. Rows of a
query come in any order, unless they are asked for in order.

    TableError
    |- TableConflict     somebody else was first: read again and decide anew
    `- TableUnavailable  nothing was answered in time, or the service failed: it may or may not have happened
"""

import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import Protocol

type Value = str | int | float | bool | bytes | datetime
"""A column's value; int up to 64 bits, datetime aware in UTC."""

MAX_OPERATIONS = 100
MAX_BYTES = 1_000_000
"""Of a transaction on the wire. Cosmos DB takes 2 MB, Table storage 4 MiB; aiohttp warns of bodies over 1 MiB."""

_OPERATION_BYTES = 800
"""Headers and JSON of one operation in a transaction, beside its keys and columns."""

_COLUMN_BYTES = 48
"""A number and the name of a column's type."""

_FORBIDDEN_IN_KEYS = re.compile(r"[/\\#?\x00-\x1f\x7f-\x9f]")


class TableError(Exception):
    """Anything that goes wrong between us and the rows."""


class TableConflict(TableError):
    """A row exists already, is gone, or its ETag is not the one that was asked for.

    `index` is the place of the operation that failed in its transaction, where it is known.
    """

    def __init__(self, message: str, index: int | None = None) -> None:
        super().__init__(message)
        self.index = index


class TableUnavailable(TableError):
    """The store did not answer, or answered with a fault; whether a change took place is unknown."""


@dataclass(frozen=True, slots=True)
class Entity:
    """One row. `etag` is set on rows that were read."""

    partition: str
    row: str
    values: Mapping[str, Value] = field(default_factory=dict)
    etag: str | None = None


def part_of(entity: Entity, columns: Sequence[str]) -> Entity:
    """Return the row as a query of these columns yields it."""
    return Entity(
        entity.partition, entity.row, {name: entity.values[name] for name in columns if name in entity.values}
    )


async def sorted_rows(rows: AsyncIterator[Entity]) -> AsyncIterator[Entity]:
    """Read all rows, then yield them by PartitionKey and RowKey."""
    for entity in sorted([entity async for entity in rows], key=attrgetter("partition", "row")):
        yield entity


@dataclass(frozen=True, slots=True)
class Insert:
    """Create a row; TableConflict where it exists."""

    entity: Entity


@dataclass(frozen=True, slots=True)
class Replace:
    """Put `entity.values` in place of all columns of a row whose ETag is still `entity.etag`; else TableConflict."""

    entity: Entity


@dataclass(frozen=True, slots=True)
class Upsert:
    """Create a row or put these columns in place of all of its columns, whatever it held."""

    entity: Entity


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a row; with an ETag only while it is unchanged. A row that is not there is a TableConflict."""

    partition: str
    row: str
    etag: str | None = None


type Operation = Insert | Replace | Upsert | Delete


class Table(Protocol):
    async def get(self, partition: str, row: str) -> Entity | None:
        """Return the row, or None where there is none. Raises TableUnavailable."""
        ...

    def query(
        self,
        partition: str | None = None,
        first: str = "",
        end: str | None = None,
        columns: Sequence[str] | None = None,
        *,
        in_order: bool = False,
    ) -> AsyncIterator[Entity]:
        """Yield rows with first <= RowKey < end, of all partitions where it is None.

        With `columns` no others are read, and the rows have no ETag: what was read in part cannot be put back.
        `in_order` is by PartitionKey, then RowKey. A store that does not keep rows so, as Cosmos DB's Table API, has to
        read all of them before the first: it is for what fits into memory.
        """
        ...

    async def transact(self, operations: Sequence[Operation]) -> list[str | None]:
        """Make all changes or none and return each row's new ETag (None for a Delete).

        Raises TableConflict, TableUnavailable, and ValueError for what breaks the limits in the module's docstring.
        """
        ...


class Tables(Protocol):
    async def table(self, name: str) -> Table:
        """Return the table of this name (3 to 63 letters and digits), created where it did not exist."""
        ...

    async def close(self) -> None: ...


def check_key(key: str) -> str:
    """Return the key, or raise ValueError where no store could hold it."""
    if not key or len(key.encode()) > 254 or _FORBIDDEN_IN_KEYS.search(key):
        raise ValueError(f"not a table key: {key[:80]!r}")
    return key


def size_of(operation: Operation) -> int:
    """Return how many bytes an operation takes in a transaction, at most: it is JSON in ASCII, and bytes are base64."""
    if isinstance(operation, Delete):
        return _OPERATION_BYTES + 4 * (len(operation.partition) + len(operation.row))
    entity = operation.entity
    size = _OPERATION_BYTES + 4 * (len(entity.partition) + len(entity.row))
    size += _COLUMN_BYTES * len(entity.values) + 2 * sum(map(len, entity.values))
    for value in entity.values.values():
        if isinstance(value, str):
            # A quote takes two bytes, another character than ASCII up to twelve.
            size += len(value) * (2 if value.isascii() and value.isprintable() else 12)
        elif isinstance(value, bytes):
            size += len(value) * 4 // 3
    return size


def transactions(operations: Iterable[Operation]) -> Iterator[list[Operation]]:
    """Split operations of one partition, in order, into as few transactions as the limits allow."""
    together: list[Operation] = []
    size = 0
    for operation in operations:
        more = size_of(operation)
        if together and (len(together) == MAX_OPERATIONS or size + more > MAX_BYTES):
            yield together
            together, size = [], 0
        together.append(operation)
        size += more
    if together:
        yield together


def check_operations(operations: Sequence[Operation]) -> None:
    """Raise ValueError where a transaction breaks a limit."""
    if not 1 <= len(operations) <= MAX_OPERATIONS:
        raise ValueError(f"a transaction takes 1 to {MAX_OPERATIONS} operations, not {len(operations)}")
    keys = [
        (op.partition, op.row) if isinstance(op, Delete) else (op.entity.partition, op.entity.row) for op in operations
    ]
    partitions = {partition for partition, _ in keys}
    for key in (*partitions, *(row for _, row in keys)):
        check_key(key)
    if len(partitions) > 1:
        raise ValueError("a transaction stays in one partition")
    if len(set(keys)) < len(keys):
        raise ValueError("a transaction names no row twice")
    if any(isinstance(op, Replace) and op.entity.etag is None for op in operations):
        raise ValueError("Replace needs the ETag that was read")
    if len(operations) > 1 and sum(map(size_of, operations)) > MAX_BYTES:
        raise ValueError(f"a transaction takes {MAX_BYTES} bytes in all")
