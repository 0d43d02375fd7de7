"""The hubs of one stand-in: where events go, where receivers begin, who is told that a partition has grown."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from local.eventhubs.addresses import Selector
from local.eventhubs.errors import ARGUMENT, Refused
from local.eventhubs.log import Extent, HubLog, LoggedEvent
from local.eventhubs.messages import OFFSET_STEP, Published
from local.eventhubs.ownership import Ownership
from local.eventhubs.partition_keys import partition_of
from seams.clock import Clock

MAX_HUBS: Final = 64
MAX_PARTITIONS: Final = 32
READ_EVENTS: Final = 100
READ_BYTES: Final = 4 * 1024 * 1024
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")


class Hub:
    """One hub. Partition numbers given to it exist."""

    def __init__(self, name: str, log: HubLog, clock: Clock) -> None:
        self.name: Final = name
        self.created_ms: Final = log.created_ms
        self.partitions: Final = log.partitions
        self.ownership: Final = Ownership()
        self._log = log
        self._clock = clock
        self._next_partition = 0
        self._watchers: list[set[asyncio.Event]] = [set() for _ in range(log.partitions)]

    def append(self, published: Published, partition: int | None) -> None:
        """Commit events: in the named partition, else in their key's, else in turns."""
        if partition is None:
            partition = self._chosen(published.key)
        self._log.append(partition, published.events, self.now_ms())
        for watcher in self._watchers[partition]:
            watcher.set()

    def read(self, partition: int, start: int, max_events: int) -> list[LoggedEvent]:
        return self._log.read(partition, start, min(max_events, READ_EVENTS), READ_BYTES)

    def extent(self, partition: int) -> Extent:
        return self._log.extent(partition)

    def start_of(self, partition: int, selector: Selector | None) -> int:
        """Return the sequence number at which a receiver begins.

        Raises Refused for a place behind the end: the service says so, too, when a checkpoint is of another hub.
        """
        extent = self.extent(partition)
        if selector is None:
            return extent.first
        if selector.value is None:
            return extent.last + 1
        if selector.by == "enqueued-time":
            return self._log.sequence_at(partition, selector.value, inclusive=selector.inclusive)
        sequence = selector.value // OFFSET_STEP if selector.by == "offset" else selector.value
        if sequence > extent.last:
            last = extent.last * OFFSET_STEP if selector.by == "offset" else extent.last
            name = selector.by.replace("-", " ")
            raise Refused(
                ARGUMENT,
                f"The supplied {name} '{selector.value}' is invalid. The last {name} in the system is '{last}'",
            )
        return max(extent.first, sequence if selector.inclusive and selector.value >= 0 else sequence + 1)

    @contextmanager
    def watching(self, partition: int, watcher: asyncio.Event) -> Iterator[None]:
        """Set the event whenever the partition grows, while the block runs."""
        self._watchers[partition].add(watcher)
        try:
            yield
        finally:
            self._watchers[partition].discard(watcher)

    def is_watched(self, partition: int) -> bool:
        """Tell whether anybody receives from a partition."""
        return bool(self._watchers[partition])

    def now_ms(self) -> int:
        return int(self._clock.now().timestamp() * 1000)

    def close(self) -> None:
        self._log.close()

    def _chosen(self, key: str | None) -> int:
        if key is not None:
            return partition_of(key, self.partitions)
        chosen = self._next_partition
        self._next_partition = (chosen + 1) % self.partitions
        return chosen


class Hubs:
    """The hubs in a folder. With `spare_partitions`, one that is asked for by a new name is made with so many."""

    def __init__(self, folder: Path, clock: Clock, spare_partitions: int | None = None) -> None:
        self._folder = folder
        self._clock = clock
        self._spare_partitions = spare_partitions
        self._open: dict[str, Hub] = {}

    def open(self, name: str, partitions: int) -> Hub:
        """Open a hub, or make it with so many partitions. Raises ValueError where none can be, and sqlite3.Error."""
        if not _NAME.fullmatch(name) or not 1 <= partitions <= MAX_PARTITIONS or len(self._open) >= MAX_HUBS:
            raise ValueError(f"not an event hub of 1 to {MAX_PARTITIONS} partitions: {name}:{partitions}")
        now_ms = int(self._clock.now().timestamp() * 1000)
        log = HubLog.open(self._folder / f"{name.lower()}.sqlite", partitions, now_ms)
        hub = self._open[name.lower()] = Hub(name, log, self._clock)
        return hub

    def find(self, name: str) -> Hub | None:
        """Return a hub by its name, whose case does not matter; None where there is none and none can be made."""
        hub = self._open.get(name.lower())
        if hub is None and self._spare_partitions is not None:
            with suppress(ValueError):
                return self.open(name, self._spare_partitions)
        return hub

    def close(self) -> None:
        for hub in self._open.values():
            hub.close()
