"""The second way out of usage events: rows of the table `outbox`, kept until the event hub takes them again.

PartitionKey is `{minute}|{instance}`, so that a batch is one transaction, instances do not write into one partition,
and what has waited longest comes first; RowKey is the moment and a number. A row holds a record's `key` and `body` and
never changes.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, groupby
from operator import attrgetter
from typing import Final

from seams.clock import Clock
from seams.tables import (
    MAX_OPERATIONS,
    Delete,
    Entity,
    Table,
    TableConflict,
    Tables,
    TableUnavailable,
    Upsert,
    transactions,
)

OUTBOX: Final = "outbox"
PUT_SECONDS: Final = 5.0
"""For a whole batch: an invocation waits for it."""

LONGEST_BODY: Final = 48 * 1024
"""Bytes; a column holds 64 KiB. A usage event has some hundred bytes, and a few KiB where it is full of labels."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A record in the outbox. `key` is the partition key under which it was to be published."""

    key: str
    body: bytes
    partition: str
    row: str
    etag: str | None


class Outbox:
    """`instance` tells this process from all others; it is fit for a table key."""

    def __init__(self, tables: Tables, clock: Clock, instance: str) -> None:
        self._tables = tables
        self._clock = clock
        self._instance = instance
        self._numbers = count()

    async def put(self, key: str, bodies: Sequence[bytes]) -> None:
        """Keep records; they are durable when this returns. After an error some may be there all the same.

        Raises TableUnavailable within PUT_SECONDS, and ValueError where a body is longer than LONGEST_BODY.
        """
        if any(len(body) > LONGEST_BODY for body in bodies):
            raise ValueError(f"a row of the outbox holds at most {LONGEST_BODY} bytes")
        now = self._clock.now()
        partition, moment = f"{now:%Y%m%d%H%M}|{self._instance}", f"{now:%S%f}"
        rows = [Entity(partition, f"{moment}-{next(self._numbers):012}", {"key": key, "body": body}) for body in bodies]
        try:
            async with asyncio.timeout(PUT_SECONDS):
                table = await self._tables.table(OUTBOX)
                for chunk in transactions(map(Upsert, rows)):
                    await table.transact(chunk)
        except TimeoutError as error:
            raise TableUnavailable(f"the outbox took nothing within {PUT_SECONDS:g} seconds") from error

    async def oldest(self, most: int) -> list[Waiting]:
        """Return up to so many records in the order in which they came. Raises TableUnavailable.

        Where the store keeps rows in order, none that waits has come before them.
        """
        table = await self._tables.table(OUTBOX)
        found: list[Waiting] = []
        async for entity in table.query():
            found.append(_waiting(entity))
            if len(found) == most:
                break
        return sorted(found, key=attrgetter("partition", "row"))

    async def remove(self, records: Sequence[Waiting]) -> None:
        """Delete records; one that somebody else has deleted is no error. Raises TableUnavailable."""
        table = await self._tables.table(OUTBOX)
        for _, group in groupby(records, attrgetter("partition")):
            deletes = [Delete(each.partition, each.row, each.etag) for each in group]
            for start in range(0, len(deletes), MAX_OPERATIONS):
                await _delete(table, deletes[start : start + MAX_OPERATIONS])


async def _delete(table: Table, deletes: Sequence[Delete]) -> None:
    try:
        await table.transact(deletes)
    except TableConflict:
        if len(deletes) > 1:
            for each in deletes:
                await _delete(table, [each])


def _waiting(entity: Entity) -> Waiting:
    key, body = entity.values.get("key"), entity.values.get("body")
    return Waiting(
        key if isinstance(key, str) else "",
        body if isinstance(body, bytes) else b"",
        entity.partition,
        entity.row,
        entity.etag,
    )
