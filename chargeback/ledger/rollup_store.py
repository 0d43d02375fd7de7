"""Rollups in the tables: events are folded into their rows under the rows' ETags."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from chargeback.concurrency import MAX_CALLS, Turns, all_of
from chargeback.ledger import rollups
from chargeback.ledger.rollups import ROLLUPS, Names, Numbered, Rollup
from seams.tables import MAX_BYTES, MAX_OPERATIONS, Insert, Operation, Replace, Table, Tables

_ROW_BYTES: Final = 11_500
"""What a rollup's row takes in a transaction beside its names, at most."""

_MAX_CACHED: Final = 4096  # about 6 KB each

type Known = Mapping[str, AbstractSet[int]]
"""By lane, the numbers of events that were counted before: duplicates."""


class RollupStore:
    """One object a process."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._calls = asyncio.Semaphore(MAX_CALLS)
        self._turns = Turns()
        # Rows as they were last written. A row is taken out while it is worked on and put back after it was written,
        # so neither a failure nor a rival inside this process leaves a stale one.
        self._cache: OrderedDict[Names, tuple[Rollup, str]] = OrderedDict()

    def add(self, groups: Mapping[Names, Sequence[Numbered]], known: Known) -> list[Awaitable[None]]:
        """Return what folds these events into their rows, in transactions that may run at once.

        Each raises TableUnavailable, and TableConflict where a rival was faster; then the batch may be begun again.
        """
        partitions: dict[str, dict[Names, Sequence[Numbered]]] = {}
        for names, numbered in groups.items():
            partitions.setdefault(names.partition(), {})[names] = numbered
        return [
            self._add({names: group[names] for names in chunk}, known)
            for group in partitions.values()
            for chunk in _chunks(group)
        ]

    async def _add(self, group: Mapping[Names, Sequence[Numbered]], known: Known) -> None:
        table = await self._tables.table(ROLLUPS)
        before = dict(zip(group, await all_of([self._read(table, names) for names in group]), strict=True))
        await self._turns.take()
        after = {
            names: rollups.fold(before[names][0], numbered, known.get(names.lane, rollups.NONE))
            for names, numbered in group.items()
        }
        changed = [names for names in group if after[names] != before[names][0]]
        etags = await self._transact(table, [_write(after[names], before[names][1]) for names in changed])
        written = dict(zip(changed, etags, strict=True))
        for names in group:
            self._keep(after[names], written.get(names, before[names][1]))

    async def _read(self, table: Table, names: Names) -> tuple[Rollup, str | None]:
        if (cached := self._cache.pop(names, None)) is not None:
            return cached
        async with self._calls:
            entity = await table.get(names.partition(), names.row())
        return (Rollup(names), None) if entity is None else (rollups.from_entity(entity), entity.etag)

    def _keep(self, rollup: Rollup, etag: str | None) -> None:
        if etag is not None:
            self._cache[rollup.names] = rollup, etag
        if len(self._cache) > _MAX_CACHED:
            self._cache.popitem(last=False)

    async def _transact(self, table: Table, operations: Sequence[Operation]) -> list[str | None]:
        if not operations:
            return []
        async with self._calls:
            return await table.transact(operations)


def _chunks(group: Iterable[Names]) -> Iterator[list[Names]]:
    """Split rows of one partition by what they take at most: their columns are not known before they were read."""
    chunk: list[Names] = []
    size = 0
    for names in group:
        text = "".join([names.subscription, *names[2:]])
        more = _ROW_BYTES + len(text) * (2 if text.isascii() else 12)
        if chunk and (len(chunk) == MAX_OPERATIONS or size + more > MAX_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(names)
        size += more
    if chunk:
        yield chunk


def _write(rollup: Rollup, etag: str | None) -> Operation:
    entity = rollups.to_entity(rollup, etag)
    return Insert(entity) if etag is None else Replace(entity)
