"""Orphans: calls that were announced and whose usage event never came, as estimated lines of their own.

Table `orphans`: PartitionKey `subscription|yyyymm` of the call's beginning, RowKey the call's id; the columns are the
intent's, the tier that a prompt of its length is billed in, and `taken_back`. A row is inserted once and never deleted:
taken back, because the usage event or the withdrawal came after all, it stands for nothing and keeps the sweep from
inserting it again.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from chargeback.columns import as_datetime, as_int
from chargeback.concurrency import MAX_CALLS
from chargeback.keys import key
from chargeback.lanes.intents import OpenCall
from chargeback.lanes.progress import Stray
from chargeback.ledger.rollups import METERS, Names, Rollup, rollup_partition
from seams.tables import Entity, Insert, Table, TableConflict, Tables, Upsert, Value

ORPHANS: Final = "orphans"
LANE: Final = "orphans"
"""Stands where a rollup names its lane."""

_CLOCKS_DIFFER: Final = timedelta(hours=1)
_TEXTS: Final = ("subscription", "deployment", "model", "deployment_type", "context_tier")
_READ: Final = ("time", "prompt_tokens", "taken_back", *_TEXTS)


class Orphans:
    """The orphans in `tables`."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._calls = asyncio.Semaphore(MAX_CALLS)

    async def add(self, call: OpenCall, context_tier: str) -> bool:
        """Insert a call; False where it is an orphan already or was taken back. Raises TableUnavailable."""
        table = await self._tables.table(ORPHANS)
        try:
            async with self._calls:
                await table.transact([Insert(_to_entity(call, context_tier, taken_back=False))])
        except TableConflict:
            return False
        return True

    async def take_back(self, call: OpenCall) -> None:
        """Let a call count for nothing, whether it was inserted or will be. Raises TableUnavailable."""
        table = await self._tables.table(ORPHANS)
        async with self._calls:
            await table.transact([Upsert(_to_entity(call, "", taken_back=True))])

    async def take_back_stray(self, stray: Stray, *, forestall: bool) -> None:
        """Let a call count for nothing where it was inserted; with `forestall` also where it will be.

        Raises TableUnavailable.
        """
        table = await self._tables.table(ORPHANS)
        earliest, latest = stray.began - _CLOCKS_DIFFER, stray.ended + _CLOCKS_DIFFER
        for month in sorted({_month(earliest), _month(stray.ended), _month(latest)}):
            async with self._calls:
                partition, row = rollup_partition(stray.subscription, month), key(stray.id)
                if not await _taken_back(table, partition, row) and forestall:
                    await _forestall(table, partition, row)

    async def lines(self, subscription: str, period: str) -> AsyncIterator[Rollup]:
        """Yield the orphans of a month, yyyy-mm, each as a rollup of one estimated request. Raises TableUnavailable."""
        table = await self._tables.table(ORPHANS)
        async for entity in table.query(rollup_partition(subscription, period), columns=_READ):
            if not entity.values["taken_back"]:
                yield _rollup(entity.values)


async def _taken_back(table: Table, partition: str, row: str) -> bool:
    """Take an orphan back; False where there is none."""
    entity = await table.get(partition, row)
    if entity is not None and not entity.values["taken_back"]:
        await table.transact([Upsert(Entity(partition, row, {**entity.values, "taken_back": True}))])
    return entity is not None


async def _forestall(table: Table, partition: str, row: str) -> None:
    try:
        await table.transact([Insert(Entity(partition, row, {"taken_back": True}))])
    except TableConflict:  # a sweep was faster
        await _taken_back(table, partition, row)


def _to_entity(call: OpenCall, context_tier: str, *, taken_back: bool) -> Entity:
    columns: dict[str, Value] = {
        "id": call.id,
        "time": call.time,
        "prompt_tokens": call.prompt_tokens,
        **call.shape._asdict(),
        "context_tier": context_tier,
        "taken_back": taken_back,
    }
    return Entity(rollup_partition(call.shape.subscription, _month(call.time)), key(call.id), columns)


def _rollup(columns: Mapping[str, Value]) -> Rollup:
    time, tokens = as_datetime(columns["time"]), as_int(columns["prompt_tokens"])
    texts = {name: str(columns[name]) for name in _TEXTS}
    names = Names(day=time.astimezone(UTC).date(), model_version="", service_tier="", lane=LANE, **texts)
    counts = tuple(tokens if meter == "prompt_tokens" else 0 for meter in METERS)
    return Rollup(names, events=1, requests=1, estimated_requests=1, meters=counts)


def _month(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m}"
