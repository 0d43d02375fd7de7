"""From the outbox back to the event hub: what a timer does, on any number of instances at once.

A record is published as replayed under its own key, then deleted. A kill or a rival in between publishes it once more;
the ledger knows it by then, or finds its twin in the same lane.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from gateway import usage
from gateway.observer import UNOBSERVED, Observer
from gateway.publishing.outbox import Outbox, Waiting
from seams.clock import Clock
from seams.events import EventStream, StreamUnavailable

PAGE: Final = 500
"""Records at a time."""

RUN_SECONDS: Final = 20.0
"""After which no further page begins: the timer is due again after 30 s."""

logger = logging.getLogger(__name__)


class Republisher:
    def __init__(self, outbox: Outbox, stream: EventStream, clock: Clock, observer: Observer = UNOBSERVED) -> None:
        self._outbox = outbox
        self._stream = stream
        self._clock = clock
        self._observer = observer

    async def run(self) -> int:
        """Publish what waits, the oldest first, until nothing does, the hub refuses, or the time is up.

        Returns how many records were published. Raises TableUnavailable.
        """
        count = 0
        until = self._clock.monotonic() + RUN_SECONDS
        while page := await self._outbox.oldest(PAGE):
            published = await self._publish(page)
            await self._outbox.remove(published)
            count += len(published)
            if len(published) < len(page) or self._clock.monotonic() >= until:
                break
        if count:
            logger.warning("%d records of usage left the outbox for the event hub", count)
        return count

    async def _publish(self, page: Sequence[Waiting]) -> list[Waiting]:
        """Return those that the hub took."""
        by_key: defaultdict[str, list[Waiting]] = defaultdict(list)
        for record in page:
            by_key[record.key].append(record)
        (_, first), *others = by_key.items()
        # One batch finds out whether the hub is back, before the others wait for it all at once.
        if not await self._took(first):
            return []
        taken = await asyncio.gather(*(self._took(records) for _, records in others))
        return first + [record for (_, records), took in zip(others, taken, strict=True) if took for record in records]

    async def _took(self, records: Sequence[Waiting]) -> bool:
        try:
            await self._stream.publish([usage.replayed(record.body) for record in records], records[0].key)
        except StreamUnavailable as error:
            logger.warning("The outbox stays as it is: %s", error)
            return False
        self._observer.replayed(len(records))
        return True
