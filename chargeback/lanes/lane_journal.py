"""The lane journal in the tables: entered last in a batch, read by the sweep and by the close of the day.

A batch begins by reading how far its lane was taken. It ends with a step through the lane: one transaction under the
ETags of all rows that it changes, and always of the head. So of rival collectors one is first; the others find its
numbers in the books when they begin again. The sweep changes rows of open calls and never the head: whoever loses that
race begins again, too.

An orphan is taken back before the step is written. Killed in between, the collector does it again; killed before, the
call is still open or pending and the redelivered batch ends it.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import batched, chain, groupby
from typing import Final

from chargeback.concurrency import all_of
from chargeback.lanes import intents, lanes
from chargeback.lanes.intents import OPEN
from chargeback.lanes.lanes import BEGINNING, HEAD, INDEX, LANES, Head, Lane
from chargeback.lanes.progress import CLOCKS_DIFFER, Arrival, LaneState, Step, advance
from chargeback.orphans.orphans import Orphans
from seams.clock import Clock
from seams.tables import Delete, Entity, Insert, Operation, Replace, Table, Tables, Upsert

_MAX_CACHED: Final = 32  # up to 3 MB each, 20 KB where few calls are open
_MAX_DAYS: Final = 12

type ETags = Mapping[str, str | None]
"""By RowKey; those of the head, of the latest day and of all open calls."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A lane as it was read, for one batch to be entered into."""

    lane: Lane
    state: LaneState
    etags: ETags

    @property
    def last_seq(self) -> int:
        """The last number that is in all books; -1 before the first."""
        return self.state.head.last_seq


class LaneJournal:
    """Enters batches; one object a process. `orphan_after` is the one that `chargeback.orphans.sweep` has."""

    def __init__(self, tables: Tables, orphans: Orphans, clock: Clock, *, orphan_after: timedelta) -> None:
        self._tables = tables
        self._orphans = orphans
        self._clock = clock
        self._orphan_after = orphan_after
        # Lanes as they were last written; taken out while they are worked on, so that no failure leaves a stale one.
        # Where a rival wrote last there is none, so that its work is seen before it is done again.
        self._cache: OrderedDict[Lane, Entry] = OrderedDict()

    async def begin(self, lane: Lane, day: date) -> Entry:
        """Return the lane for a batch whose first event was enqueued on `day`. Raises TableUnavailable."""
        return self._cache.pop(lane, None) or await _read(await self._tables.table(LANES), lane, day)

    async def enter(self, entry: Entry, arrivals: Sequence[Arrival]) -> None:
        """Enter what came, in the order of the numbers.

        Raises TableUnavailable, and TableConflict where the lane was changed since it was read.
        """
        for portion in _portions(arrivals):
            entry = await self._enter(entry, portion)
            self._keep(entry)

    async def _enter(self, entry: Entry, arrivals: Sequence[Arrival]) -> Entry:
        step = advance(entry.state, arrivals)
        if step is None:
            return entry
        await self._take_back(entry.lane, step)
        operations = _operations(entry, step)
        written = await (await self._tables.table(LANES)).transact(operations)
        return Entry(entry.lane, step.state, {**entry.etags, **_by_row(operations, written)})

    async def _take_back(self, lane: Lane, step: Step) -> None:
        """Let calls that have ended be no orphans, neither those about to be one nor those that may be."""
        now, elsewhere = self._clock.now(), BEGINNING
        if any(stray.older for stray in step.strays):
            elsewhere = await self._last_intent_beside(lane) + CLOCKS_DIFFER
        late = (
            stray
            for stray in step.strays
            if (stray.older and stray.began <= elsewhere) or now - stray.began >= self._orphan_after / 2
        )
        await self._orphans.take_back([*step.taken_back, *late])

    async def _last_intent_beside(self, lane: Lane) -> datetime:
        """Return when the latest call began that is open, or was, in another lane: of a hub that was made anew, say."""
        others = [other for other in await known_lanes(self._tables) if other != lane]
        heads = await all_of([read_head(self._tables, other) for other in others])
        return max([BEGINNING, *(head.last_intent_at for head in heads if head is not None)])

    def _keep(self, entry: Entry) -> None:
        state = entry.state
        kept = {HEAD, *map(intents.open_row, state.open)}
        if state.day is not None:
            kept.add(lanes.day_row(state.day.day))
        etags = {row: etag for row, etag in entry.etags.items() if row in kept}
        self._cache[entry.lane] = Entry(entry.lane, state, etags)
        if len(self._cache) > _MAX_CACHED:
            self._cache.popitem(last=False)


async def known_lanes(tables: Tables) -> list[Lane]:
    """Return every lane that was ever read. Raises TableUnavailable."""
    table = await tables.table(LANES)
    return [lanes.lane_of(entity) async for entity in table.query(INDEX)]


async def read_head(tables: Tables, lane: Lane) -> Head | None:
    """Return how far a lane has been taken; None where nothing was. Raises TableUnavailable."""
    entity = await (await tables.table(LANES)).get(lane.key(), HEAD)
    return None if entity is None else lanes.head_of(entity)


async def _read(table: Table, lane: Lane, day: date) -> Entry:
    """Read what a batch needs whose first event was enqueued on `day`: head, open calls and, where it began, the day.

    The latest day's row is missed where it lies before `day`; then it is over.
    """
    rows = {entity.row: entity async for entity in table.query(lane.key(), first=lanes.day_row(day))}
    if HEAD not in rows:
        await table.transact([Upsert(lanes.index_entity(lane))])
        return Entry(lane, LaneState(), {})
    head = lanes.head_of(rows[HEAD])
    latest = rows.get(lanes.day_row(head.enqueued_at.date()))
    opened = dict(intents.open_row_of(entity) for row, entity in rows.items() if row.startswith(OPEN))
    state = LaneState(head, None if latest is None else lanes.day_of_entity(latest), opened)
    return Entry(lane, state, {row: entity.etag for row, entity in rows.items()})


def _portions(arrivals: Sequence[Arrival]) -> Iterator[Sequence[Arrival]]:
    """Split so that no transaction gets more day rows than it takes."""
    days = (list(group) for _, group in groupby(arrivals, lambda arrival: arrival.enqueued_at.date()))
    for portion in batched(days, _MAX_DAYS, strict=False):
        yield list(chain.from_iterable(portion))


def _operations(entry: Entry, step: Step) -> list[Operation]:
    def put(entity: Entity) -> Operation:
        return Insert(entity) if entity.etag is None else Replace(entity)

    lane, etags = entry.lane, entry.etags
    before, after = entry.state.open, step.state.open
    head = put(lanes.head_entity(lane, step.state.head, etags.get(HEAD)))
    days = [put(lanes.day_entity(lane, day, etags.get(lanes.day_row(day.day)))) for day in step.days]
    opened = [
        put(intents.open_entity(lane.key(), number, row, etags.get(intents.open_row(number))))
        for number, row in after.items()
        if before.get(number) is not row
    ]
    emptied = [intents.open_row(number) for number in before.keys() - after.keys()]
    return [head, *days, *opened, *(Delete(lane.key(), row, etags[row]) for row in emptied)]


def _by_row(operations: Sequence[Operation], written: Sequence[str | None]) -> dict[str, str | None]:
    return {
        operation.entity.row: etag
        for operation, etag in zip(operations, written, strict=True)
        if not isinstance(operation, Delete)
    }
