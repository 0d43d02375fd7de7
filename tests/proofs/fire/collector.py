"""One of several rival collectors: a process that reads every partition by the SDK into the real ledger."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Never

from chargeback.lanes.lane_journal import Entry
from chargeback.ledger import rollups
from chargeback.ledger.ledger import Ledger
from chargeback.ledger.rollups import Numbered, Rollup
from chargeback.prices import Prices
from hosting.eventhubs.events import EventHubStream
from hosting.tables import AzureTables
from local.events.checkpoints import Checkpoints
from local.events.event_log import StoredEvent
from local.events.hub_source import HubSource
from seams.clock import SystemClock
from seams.events import ReceivedEvent, StreamUnavailable
from seams.tables import TableError
from tests.chargeback.staging import Renamed

HUB = "usage"
MAX_BATCH = 100
REACH_BACK = 150
PAUSE_SECONDS = 0.1
counted_once = rollups.fold


@dataclass(frozen=True)
class Rival:
    """`name` is a consumer group of its own, so that all rivals get all events. `forgetful` makes it the control."""

    name: str
    hub: str
    tables: str
    prefix: str
    checkpoints: Path
    seed: int
    forgetful: bool = False


class ReachingBack(Checkpoints):
    """Checkpoints that were lost in part: reading begins anew some way back, at times at the very first event."""

    def __init__(self, folder: Path, dice: random.Random) -> None:
        super().__init__(folder)
        self._dice = dice

    def read(self, group: str, partition: str) -> int:
        if self._dice.random() < 0.1:
            return -1
        return max(-1, super().read(group, partition) - self._dice.randrange(REACH_BACK))


def forgetful(rollup: Rollup, numbered: Sequence[Numbered], _: AbstractSet[int]) -> Rollup:
    """Fold as a ledger would that knows neither numbers nor ids: the control."""
    return counted_once(replace(rollup, last_seq=-1, ring=b""), numbered)


def run(rival: Rival) -> None:
    """Collect until killed."""
    logging.disable(logging.WARNING)  # lost connections are what this is about
    if rival.forgetful:
        rollups.fold = forgetful  # type: ignore[assignment]  # the control replaces what is to be proved
        Entry.last_seq = property(lambda _: -1)  # type: ignore[assignment, method-assign]  # so here
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_collect(rival))


async def _collect(rival: Rival) -> None:
    stream = EventHubStream.by_connection_string(rival.hub, HUB, timeout_seconds=10, clock=SystemClock())
    tables = AzureTables.by_connection_string(rival.tables)
    ledger = Ledger(Renamed(tables, rival.prefix), Prices(), stream.incarnation)
    source = HubSource(rival.hub, HUB, ReachingBack(rival.checkpoints, random.Random(rival.seed)))
    partitions = await _partitions(source)
    await asyncio.gather(*(_follow(source, ledger, rival.name, partition) for partition in partitions))


async def _partitions(source: HubSource) -> Sequence[str]:
    while True:
        with contextlib.suppress(StreamUnavailable):
            return await source.partitions()
        await asyncio.sleep(PAUSE_SECONDS)


async def _follow(source: HubSource, ledger: Ledger, group: str, partition: str) -> Never:
    async def take(events: Sequence[StoredEvent]) -> None:
        batch = [ReceivedEvent(event.body, partition, event.sequence, event.enqueued_at) for event in events]
        while True:
            # As the trigger's retry policy has it: the same batch again, without an end.
            with contextlib.suppress(TableError, StreamUnavailable):
                return await ledger.collect(batch)
            await asyncio.sleep(PAUSE_SECONDS)

    while True:
        with contextlib.suppress(StreamUnavailable):
            await source.follow(partition, group, MAX_BATCH, take)
        await asyncio.sleep(PAUSE_SECONDS)
