"""Dead letters for a person: looked at, and published again once the event or the collector has been mended.

A requeued event is marked `replayed`, so that one that was counted after all is not counted twice. It is published
first and noted second: a kill in between leaves a dead letter that looks as if it was never requeued, and may be.
"""

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import msgspec

from chargeback.deadletters import deadletters
from chargeback.deadletters.deadletters import DEADLETTERS, DeadLetter, EventImpossible, Requeue
from chargeback.errors import (
    AlreadyRequeued,
    DeadLetterNotFound,
    DeadLetterTruncated,
    StillImpossible,
)
from chargeback.ledger.details import RETENTION
from gateway.usage import UsageEvent, encode
from seams.clock import Clock
from seams.events import EventStream, ReceivedEvent
from seams.tables import Entity, Replace, Table, TableConflict, Tables

MAX_EVENT_BYTES: Final = 1_000_000
"""What the event stream takes."""

_FIRST_YEAR: Final = 2020
_CLOCK_SKEW: Final = timedelta(days=1)
_MOST_READ: Final = 5_000
_MAX_TRIES: Final = 10

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Page:
    """`next` is what `after` is to be for the page that follows; None on the last one."""

    letters: list[DeadLetter]
    next: str | None


class DeadLetters:
    """The dead letters in `tables`; `stream` is the hub that usage events go to.

    `retention` is how old an event may be, see `chargeback.deadletters.deadletters.parse`.
    """

    def __init__(self, tables: Tables, stream: EventStream, clock: Clock, retention: timedelta = RETENTION) -> None:
        self._tables = tables
        self._stream = stream
        self._clock = clock
        self._retention = retention

    async def page(self, limit: int, after: str = "", *, waiting: bool = False) -> Page:
        """Return dead letters, the latest first, that come after the one of this id; `waiting`: never requeued.

        Reads 5,000 at most, so a page of those that wait may be shorter than `limit` and yet have a next one. Raises
        DeadLetterNotFound for an `after` that is no id, and TableUnavailable.
        """
        letters: list[DeadLetter] = []
        last, read = after, 0
        async for letter in self._latest_first(after):
            if len(letters) == limit or read == _MOST_READ:
                return Page(letters, last)
            last, read = letter.id, read + 1
            if not (waiting and letter.requeues):
                letters.append(letter)
        return Page(letters, None)

    async def show(self, id: str) -> tuple[DeadLetter, bytes]:  # noqa: A002 - it is called so on the wire
        """Return a dead letter and what was kept of its body. Raises DeadLetterNotFound and TableUnavailable."""
        entity = await self._get(id)
        return deadletters.from_entity(entity), deadletters.body_of(entity)

    async def requeue(self, id: str, by: str, mended: bytes = b"", *, force: bool = False) -> DeadLetter:  # noqa: A002 - see `show`
        """Publish the event once more, or `mended` in its place, and note when, and by whom.

        `force` repeats a requeue, and publishes what would become a dead letter again. Raises DeadLetterNotFound,
        AlreadyRequeued, DeadLetterTruncated, StillImpossible, TableUnavailable and StreamUnavailable.
        """
        entity = await self._get(id)
        letter = deadletters.from_entity(entity)
        if letter.requeues and not force:
            latest = letter.requeues[-1]
            raise AlreadyRequeued(f"It was requeued at {latest.at.isoformat()} by {latest.by}; force repeats that.")
        if letter.truncated and not mended:
            raise DeadLetterTruncated(f"The event had {letter.size} bytes, and its end was not kept: send it mended.")
        body, key = self._publishable(mended or deadletters.body_of(entity), letter, force=force)
        await self._stream.publish([body], key)
        requeue = Requeue(self._clock.now(), by, bool(mended))
        logger.info("dead letter %s was requeued by %s", letter.id, by)
        return await self._note(entity, requeue)

    def _publishable(self, body: bytes, letter: DeadLetter, *, force: bool) -> tuple[bytes, str]:
        """Return what to publish, and its partition key."""
        now = self._clock.now()
        try:
            received = ReceivedEvent(body, letter.lane.partition, letter.sequence_number, now)
            event = deadletters.parse(received, self._retention)
        except EventImpossible as error:
            if force:
                return body, letter.id
            raise StillImpossible(
                f"It would become a dead letter again: {error}. Send it mended; force publishes it all the same."
            ) from error
        if isinstance(event, UsageEvent):
            body = encode(msgspec.structs.replace(event, replayed=True))
        return body, event.subscription

    async def _note(self, entity: Entity, requeue: Requeue) -> DeadLetter:
        table = await self._table()
        for _ in range(_MAX_TRIES):
            noted = deadletters.requeued(entity, requeue)
            try:
                await table.transact([Replace(noted)])
            except TableConflict:
                entity = await self._get(entity.row)
            else:
                return deadletters.from_entity(noted)
        raise TableConflict(f"dead letter {entity.row}: others kept noting requeues")

    async def _get(self, id: str) -> Entity:  # noqa: A002 - see `show`
        partition = deadletters.place_of(id)
        entity = None if partition is None else await (await self._table()).get(partition, id)
        if entity is None:
            raise DeadLetterNotFound(f"There is no dead letter {id[:60]!r}.")
        return entity

    async def _latest_first(self, after: str) -> AsyncIterator[DeadLetter]:
        latest = deadletters.place_of(after) if after else deadletters.partition_of(self._clock.now() + _CLOCK_SKEW)
        if latest is None:
            raise DeadLetterNotFound(f"There is no dead letter {after[:60]!r} to go on after.")
        table = await self._table()
        for year in range(int(latest), _FIRST_YEAR - 1, -1):
            # Ids have one length, so the first text after one of them is itself and anything more.
            first = f"{after}~" if after else ""
            async for entity in table.query(str(year), first, columns=deadletters.DESCRIBED, in_order=True):
                yield deadletters.from_entity(entity)

    async def _table(self) -> Table:
        return await self._tables.table(DEADLETTERS)
