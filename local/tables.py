"""Tables in one SQLite file, for one machine without Azure; `seams.tables` says what they promise.

All of a process's work on the file goes through one thread of its own: SQLite has one writer anyway, the event loop
never waits for the disk, and no lock is held across an await. Several processes may open the same file. What was
acknowledged survives the process's SIGKILL (write-ahead log); a power cut may take the last moments.
"""

import asyncio
import os
import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from local.transaction import Transaction
from seams.tables import (
    Delete,
    Entity,
    Insert,
    Operation,
    Replace,
    TableConflict,
    TableUnavailable,
    Upsert,
    Value,
    check_operations,
    part_of,
)

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS entities (
    name TEXT NOT NULL, partition TEXT NOT NULL, row TEXT NOT NULL, etag TEXT NOT NULL, columns BLOB NOT NULL,
    PRIMARY KEY (name, partition, row)
) WITHOUT ROWID
"""
_TABLE_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{2,62}")
_PAGE: Final = 500
_MAX_WAITING: Final = 256
_MAX_BYTES: Final = 64 * 1024
_SURELY_FITS: Final = _MAX_BYTES // 4  # characters, whatever they are

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(dict[str, Any]).decode


class SQLiteTables:
    """The tables in the file at `path`, made where there is none.

    `busy_timeout` is how many seconds a call waits for another process's write before TableUnavailable.
    """

    def __init__(self, path: Path, busy_timeout: float = 5.0) -> None:
        self._path = path
        self._busy_timeout = busy_timeout
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tables")
        self._waiting = asyncio.Semaphore(_MAX_WAITING)
        self._connection: sqlite3.Connection | None = None

    async def table(self, name: str) -> "SQLiteTable":
        """Return the table; raises ValueError for a name that Table storage would not take."""
        if not _TABLE_NAME.fullmatch(name):
            raise ValueError(f"not a table name: {name!r}")
        if self._connection is None:
            await self.run(lambda _: None)
        # Table storage tells no upper case from lower in table names.
        return SQLiteTable(self, name.lower())

    async def run[T](self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do the work in the file's thread. Raises TableUnavailable where SQLite fails or is busy for too long."""
        loop = asyncio.get_running_loop()
        async with self._waiting:
            try:
                return await loop.run_in_executor(self._thread, lambda: work(self._connect()))
            except sqlite3.Error as error:
                raise TableUnavailable(str(error)) from error

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
        self._thread.shutdown()

    def _connect(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = sqlite3.connect(self._path, timeout=self._busy_timeout, autocommit=True)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.execute(_SCHEMA)
            except sqlite3.Error:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class SQLiteTable:
    """One table; see `seams.tables.Table` for what each method promises."""

    def __init__(self, tables: SQLiteTables, name: str) -> None:
        self._tables = tables
        self._name = name

    async def get(self, partition: str, row: str) -> Entity | None:
        found = await self._tables.run(
            lambda connection: connection.execute(
                "SELECT partition, row, columns, etag FROM entities WHERE name = ? AND partition = ? AND row = ?",
                (self._name, partition, row),
            ).fetchone()
        )
        return found and _to_entity(found)

    async def query(
        self,
        partition: str | None = None,
        first: str = "",
        end: str | None = None,
        columns: Sequence[str] | None = None,
        *,
        in_order: bool = False,  # noqa: ARG002 - they always are
    ) -> AsyncIterator[Entity]:
        clauses, bounds = "name = ? AND row >= ?", [self._name, first]
        if partition is not None:
            clauses, bounds = f"{clauses} AND partition = ?", [*bounds, partition]
        if end is not None:
            clauses, bounds = f"{clauses} AND row < ?", [*bounds, end]
        sql = (
            f"SELECT partition, row, columns, etag FROM entities WHERE {clauses} AND (partition, row) > (?, ?) "  # noqa: S608 - clauses are constants
            f"ORDER BY partition, row LIMIT {_PAGE}"
        )
        last = ("", "")
        while True:
            page = await self._tables.run(_fetch(sql, (*bounds, *last)))
            for found in page:
                entity = _to_entity(found)
                yield entity if columns is None else part_of(entity, columns)
            if len(page) < _PAGE:
                return
            last = page[-1][:2]

    async def transact(self, operations: Sequence[Operation]) -> list[str | None]:
        check_operations(operations)
        return await self._tables.run(lambda connection: _transact(connection, self._name, operations))


def _fetch(sql: str, parameters: tuple[str, ...]) -> Callable[[sqlite3.Connection], list[Any]]:
    return lambda connection: connection.execute(sql, parameters).fetchall()


def _transact(connection: sqlite3.Connection, name: str, operations: Sequence[Operation]) -> list[str | None]:
    # While other processes may still write.
    changes = [(operation, _columns(operation)) for operation in operations]
    with Transaction(connection):
        return [_apply(connection, name, index, *change) for index, change in enumerate(changes)]


def _apply(connection: sqlite3.Connection, name: str, index: int, operation: Operation, columns: bytes) -> str | None:
    etag = os.urandom(8).hex()
    match operation:
        case Insert(entity):
            sql = "INSERT INTO entities VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
            changed = connection.execute(sql, (name, entity.partition, entity.row, etag, columns)).rowcount
        case Upsert(entity):
            sql = "INSERT OR REPLACE INTO entities VALUES (?, ?, ?, ?, ?)"
            changed = connection.execute(sql, (name, entity.partition, entity.row, etag, columns)).rowcount
        case Replace(entity):
            sql = "UPDATE entities SET etag = ?, columns = ? WHERE name = ? AND partition = ? AND row = ? AND etag = ?"
            key = (name, entity.partition, entity.row, entity.etag)
            changed = connection.execute(sql, (etag, columns, *key)).rowcount
        case Delete(partition, row, expected):
            sql = "DELETE FROM entities WHERE name = ? AND partition = ? AND row = ? AND etag = coalesce(?, etag)"
            changed = connection.execute(sql, (name, partition, row, expected)).rowcount
    if not changed:
        raise TableConflict(f"{type(operation).__name__} came second", index)
    return None if isinstance(operation, Delete) else etag


def _columns(operation: Operation) -> bytes:
    if isinstance(operation, Delete):
        return b""
    for name, value in operation.entity.values.items():
        _check(name, value)
    return _encode(operation.entity.values)


def _check(name: str, value: Value) -> None:
    # What Table storage would refuse must not work here either, or it is found out in production.
    if isinstance(value, str):
        if len(value) > _SURELY_FITS and len(value.encode("utf-16-le")) > _MAX_BYTES:
            raise ValueError(f"column {name} holds more than 64 KiB of UTF-16")
    elif isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise ValueError(f"column {name} has 64 bits")
    elif isinstance(value, bytes):
        if len(value) > _MAX_BYTES:
            raise ValueError(f"column {name} holds more than 64 KiB")
    elif isinstance(value, datetime) and value.tzinfo is None:
        raise ValueError(f"column {name} is an aware datetime")


def _to_entity(found: tuple[str, str, bytes, str]) -> Entity:
    partition, row, columns, etag = found
    return Entity(partition, row, _decode(columns), etag)
