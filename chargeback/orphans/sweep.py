"""The sweep: calls whose usage event never came become orphans, so that what a backend billed is on a statement.

Three writes, each safe to repeat, so that a call is billed once whoever is killed between them, and however many
sweeps and collectors are at it:

1. Calls that are due become `pending` in their lane's row, under its ETag. From then on the collector takes back in
   the table of orphans what it ends.
2. Each pending call is inserted among the orphans. One that is there already, perhaps as taken back, stays as it is.
3. Pending calls leave their lane's row. A collector that then meets their event finds the orphan.

A call is due `after` its beginning, and once everything was read that lay in the hub by then. What still comes later
(from a publisher that could not reach the hub, say) is taken back by the collector.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from chargeback.closing.hub import Hub
from chargeback.closing.partitions import PartitionIndex
from chargeback.concurrency import MAX_CALLS, MAX_TRIES, all_of, give_way
from chargeback.lanes import intents, lanes
from chargeback.lanes.intents import OPEN, OpenCall, OpenRow
from chargeback.lanes.lane_journal import known_lanes
from chargeback.lanes.lanes import HEAD, LANES, Head, Lane
from chargeback.ledger import details
from chargeback.ledger.details import USAGE
from chargeback.orphans.orphans import Orphans
from chargeback.prices import Prices
from seams.clock import Clock
from seams.tables import Delete, Operation, Replace, Table, TableConflict, Tables

_DAY: Final = timedelta(days=1)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Opened:
    """A lane's head and its rows of open calls, as they were read."""

    head: Head
    rows: Mapping[int, OpenRow]
    etags: Mapping[int, str | None]


class _Ends:
    """Which hub there is and where its partitions end; asked once in a sweep, and only if it matters."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._incarnation: str | None = None
        self._ends: Mapping[str, int] | None = None

    async def reached(self, lane: Lane, head: Head) -> bool:
        """Tell whether all of a lane was read. Raises StreamUnavailable."""
        if self._incarnation is None:
            self._incarnation = await self._hub.incarnation()
        if lane.incarnation != self._incarnation:
            return True  # of a hub that is gone nothing more is to come
        if self._ends is None:
            self._ends = await self._hub.ends()
        # A partition that the hub does not name is none that was read to its end.
        return self._ends.get(lane.partition, head.last_seq + 1) <= head.last_seq


class OrphanSweep:
    """Sweeps all lanes; safe beside collectors and other sweeps. `after` is a positive time."""

    def __init__(
        self,
        tables: Tables,
        prices: Prices,
        hub: Hub,
        clock: Clock,
        *,
        after: timedelta,
        uniform: Callable[[], float],
    ) -> None:
        self._tables = tables
        self._prices = prices
        self._hub = hub
        self._clock = clock
        self._after = after
        self._uniform = uniform
        self._orphans = Orphans(tables)
        self._index = PartitionIndex(tables)
        self._calls = asyncio.Semaphore(MAX_CALLS)

    async def sweep(self) -> int:
        """Return how many calls became orphans. Raises TableUnavailable and StreamUnavailable; then it may be repeated.

        A lane on which rivals are always first is left to the next sweep.
        """
        # Before the hub is asked where it ends: so whatever it held by then is below that.
        latest, ends = self._clock.now() - self._after, _Ends(self._hub)
        orphaned = 0
        for lane in await known_lanes(self._tables):
            orphaned += await self._sweep(lane, latest, ends)
        if orphaned:
            logger.warning("Calls without a usage event that are now on statements as estimates: %d", orphaned)
        return orphaned

    async def _sweep(self, lane: Lane, latest: datetime, ends: _Ends) -> int:
        table = await self._tables.table(LANES)
        orphaned = 0
        for attempt in range(MAX_TRIES):
            opened = await _read(table, lane)
            due = await self._due(lane, opened, latest, ends)
            try:
                opened = await _with_pending(table, lane, opened, due)
                pending = [call for row in opened.rows.values() for call in row.calls.values() if call.pending]
                await self._index.note({(call.shape.subscription, call.time.date()) for call in pending}, self._today())
                orphaned += sum(await all_of([self._orphan(call) for call in pending]))
                await _without(table, lane, opened, {call.id for call in pending})
            except TableConflict:
                await give_way(attempt, self._uniform)
            else:
                break
        return orphaned

    async def _due(self, lane: Lane, opened: _Opened, latest: datetime, ends: _Ends) -> AbstractSet[str]:
        calls = [call for row in opened.rows.values() for call in row.calls.values() if not call.pending]
        old = [call for call in calls if call.time <= latest]
        # What lay in the hub before the head's time was read, whatever else has come since.
        due = {call.id for call in old if call.time <= opened.head.enqueued_at - self._after}
        if len(due) < len(old) and await ends.reached(lane, opened.head):
            due = {call.id for call in old}
        return due

    def _today(self) -> date:
        return self._clock.now().date()

    async def _orphan(self, call: OpenCall) -> bool:
        async with self._calls:
            if await self._is_counted(call):
                return False
        tier = self._prices.context_tier(call.shape.model, "", call.time.date(), call.prompt_tokens)
        return await self._orphans.add(call, tier)

    async def _is_counted(self, call: OpenCall) -> bool:
        """Find an event that came before its intent, or in another lane; only detail rows can tell."""
        table = await self._tables.table(USAGE)
        for day in (call.time.date(), (call.time + _DAY).date()):
            partition = details.detail_partition(call.shape.subscription, day)
            if await table.get(partition, details.detail_row(call.id)) is not None:
                return True
        return False


async def _read(table: Table, lane: Lane) -> _Opened:
    head, rows, etags = Head(), {}, {}
    async for entity in table.query(lane.key(), first=HEAD):
        if entity.row == HEAD:
            head = lanes.head_of(entity)
        elif entity.row.startswith(OPEN):
            number, row = intents.open_row_of(entity)
            rows[number], etags[number] = row, entity.etag
    return _Opened(head, rows, etags)


async def _with_pending(table: Table, lane: Lane, opened: _Opened, due: AbstractSet[str]) -> _Opened:
    """Let due calls be pending. Raises TableConflict where a row has changed."""
    rows = {number: row for number, row in opened.rows.items() if due & row.calls.keys()}
    if not rows:
        return opened
    changed = {number: intents.with_pending(row, due) for number, row in rows.items()}
    etags = await table.transact([_replaced(lane, opened, number, row) for number, row in changed.items()])
    written = dict(zip(changed, etags, strict=True))
    return _Opened(opened.head, {**opened.rows, **changed}, {**opened.etags, **written})


async def _without(table: Table, lane: Lane, opened: _Opened, gone: AbstractSet[str]) -> None:
    """Remove calls. Raises TableConflict where a row has changed."""
    if not gone:
        return
    after, _ = intents.rearranged(opened.rows, {}, gone)
    operations: list[Operation] = [
        _replaced(lane, opened, number, row) for number, row in after.items() if row is not opened.rows[number]
    ]
    emptied = opened.rows.keys() - after.keys()
    await table.transact(
        [*operations, *(Delete(lane.key(), intents.open_row(number), opened.etags[number]) for number in emptied)]
    )


def _replaced(lane: Lane, opened: _Opened, number: int, row: OpenRow) -> Replace:
    return Replace(intents.open_entity(lane.key(), number, row, opened.etags[number]))
