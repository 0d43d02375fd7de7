"""Orphans: calls that were announced and whose usage event never came, as estimated lines of their own.

Table `orphans`, PartitionKey `subscription|yyyymm` of the call's beginning, two rows for a call:

    RowKey         columns
    decided|{id}   none; the call is an orphan, or was one, or will never be one
    orphan|{id}    the intent's, and the tier that a prompt of its length is billed in: a line on the statement

The sweep inserts both in one transaction. Whoever takes an orphan back, since the usage event or the withdrawal came
after all, writes the first and then removes the second: from then on no sweep can insert them again. So what is taken
back ahead, hundreds at a time, costs statements nothing.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import batched
from typing import Final

from chargeback.closing.partitions import PartitionIndex
from chargeback.columns import as_datetime, as_int
from chargeback.concurrency import MAX_CALLS, all_of
from chargeback.keys import key
from chargeback.lanes.intents import OpenCall
from chargeback.lanes.progress import Stray
from chargeback.ledger.rollups import METERS, Names, Rollup, rollup_partition
from seams.tables import MAX_OPERATIONS, Delete, Entity, Insert, Table, TableConflict, Tables, Upsert, Value

ORPHANS: Final = "orphans"
LANE: Final = "orphans"
"""Stands where a rollup names its lane."""

DECIDED: Final = ("decided|", "decided}")
ORPHAN: Final = ("orphan|", "orphan}")
"""RowKeys: the first of each kind, and what comes after the last."""

_CLOCKS_DIFFER: Final = timedelta(hours=1)
_TEXTS: Final = ("subscription", "deployment", "model", "deployment_type", "context_tier")
_READ: Final = ("time", "prompt_tokens", *_TEXTS)


class Orphans:
    """The orphans in `tables`."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._index = PartitionIndex(tables)
        self._calls = asyncio.Semaphore(MAX_CALLS)

    async def add(self, call: OpenCall, context_tier: str) -> bool:
        """Insert a call; False where it is an orphan already or was taken back. Raises TableUnavailable."""
        table = await self._tables.table(ORPHANS)
        month = _month(call.time)
        partition = rollup_partition(call.shape.subscription, month)
        orphan = Entity(partition, key("orphan", call.id), _columns(call, context_tier))
        try:
            async with self._calls:
                await self._index.note_orphans({(call.shape.subscription, month)})
                await table.transact([Insert(Entity(partition, key("decided", call.id))), Insert(orphan)])
        except TableConflict:
            return False
        return True

    async def take_back(self, calls: Iterable[OpenCall | Stray]) -> None:
        """Let calls count for nothing, whether they were inserted or will be. Raises TableUnavailable."""
        months: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        for call in calls:
            for place in _places(call):
                months[place].append(call.id)
        await self._index.note_orphans(months.keys())
        await all_of(
            [
                self._take_back(rollup_partition(*place), some)
                for place, names in months.items()
                for some in batched(names, MAX_OPERATIONS, strict=False)
            ]
        )

    async def lines(self, subscription: str, period: str) -> AsyncIterator[Rollup]:
        """Yield the orphans of a month, yyyy-mm, each as a rollup of one estimated request. Raises TableUnavailable."""
        table = await self._tables.table(ORPHANS)
        partition = rollup_partition(subscription, period)
        async for entity in table.query(partition, *ORPHAN, columns=_READ):
            yield _rollup(entity.values)

    async def _take_back(self, partition: str, names: Sequence[str]) -> None:
        table = await self._tables.table(ORPHANS)
        decided = [Entity(partition, key("decided", name)) for name in names]
        async with self._calls:
            try:
                await table.transact([Insert(row) for row in decided])
            except TableConflict:
                # Some of them were decided before, by a sweep perhaps: those it inserted are removed.
                await table.transact([Upsert(row) for row in decided])
                await _remove(table, partition, {key("orphan", name) for name in names})


async def _remove(table: Table, partition: str, rows: set[str]) -> None:
    standing = [entity.row async for entity in table.query(partition, *ORPHAN, columns=())]
    for row in rows.intersection(standing):
        with contextlib.suppress(TableConflict):  # a rival was faster
            await table.transact([Delete(partition, row)])


def _places(call: OpenCall | Stray) -> set[tuple[str, str]]:
    """Return the subscription and every month, yyyy-mm, in which a call may be an orphan."""
    if isinstance(call, OpenCall):
        return {(call.shape.subscription, _month(call.time))}
    times = (call.began - _CLOCKS_DIFFER, call.ended, call.ended + _CLOCKS_DIFFER)
    return {(call.subscription, _month(time)) for time in times}


def _columns(call: OpenCall, context_tier: str) -> dict[str, Value]:
    return {
        "id": call.id,
        "time": call.time,
        "prompt_tokens": call.prompt_tokens,
        **call.shape._asdict(),
        "context_tier": context_tier,
    }


def _rollup(columns: Mapping[str, Value]) -> Rollup:
    time, tokens = as_datetime(columns["time"]), as_int(columns["prompt_tokens"])
    texts = {name: str(columns[name]) for name in _TEXTS}
    names = Names(day=time.astimezone(UTC).date(), model_version="", service_tier="", lane=LANE, **texts)
    counts = tuple(tokens if meter == "prompt_tokens" else 0 for meter in METERS)
    return Rollup(names, events=1, requests=1, estimated_requests=1, meters=counts)


def _month(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m}"
