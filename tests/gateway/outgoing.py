"""Streams, tables and publishers for tests of usage on its way out."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gateway import usage
from gateway.observer import UNOBSERVED, Observer
from gateway.publishing.delivery import Delivery
from gateway.publishing.outbox import OUTBOX, Outbox
from gateway.publishing.publisher import UsagePublisher
from gateway.usage import Record, UsageEvent
from seams.clock import SystemClock
from seams.events import StreamUnavailable
from seams.tables import TableUnavailable
from tests.gateway.memory_tables import MemoryTables


@dataclass
class Stream:
    """Refuses its next `failures` batches; holds every batch back until `free` is set."""

    failures: int = 0
    batches: list[tuple[str, list[Record]]] = field(default_factory=list)
    free: asyncio.Event = field(default_factory=asyncio.Event)
    asked: int = 0

    async def publish(self, bodies: Sequence[bytes], key: str) -> None:
        self.asked += 1
        await self.free.wait()
        if self.failures:
            self.failures -= 1
            raise StreamUnavailable("the hub is away")
        self.batches.append((key, [usage.decode(body) for body in bodies]))

    @property
    def ids(self) -> list[tuple[str, list[str]]]:
        return [(key, [record.id for record in records]) for key, records in self.batches]

    @property
    def records(self) -> list[Record]:
        return [record for _, records in self.batches for record in records]

    async def incarnation(self) -> str:
        return "test"

    async def ends(self) -> Mapping[str, int]:
        return {}

    async def close(self) -> None:
        return


class Out:
    """A publisher, its ways out and their stores; `stream` is free unless it is to be held."""

    def __init__(self, stream: Stream | None = None, observer: Observer = UNOBSERVED) -> None:
        self.stream = stream or Stream()
        if stream is None:
            self.stream.free.set()
        self.tables = MemoryTables()
        self.outbox = Outbox(self.tables, SystemClock(), "one")
        self.delivery = Delivery(self.stream, self.outbox, observer)
        self.publisher = UsagePublisher(self.delivery)

    def cut_tables(self) -> None:
        self.tables.before = self._refuse

    def mend_tables(self) -> None:
        self.tables.before = _nothing

    def outboxed(self) -> list[UsageEvent]:
        """Return the events in the outbox, in the order of their rows."""
        rows = sorted((place, row) for place, row in self.tables.rows.items() if place[0] == OUTBOX)
        return [usage.decode_event(body) for _, row in rows if isinstance(body := row.values["body"], bytes)]

    async def _refuse(self) -> None:
        raise TableUnavailable("the tables are away")


async def _nothing() -> None:
    return
