"""Usage on its way out by the real SDK: a hub that dies, falls silent, loses acknowledgements, and comes back."""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, PartitionContext

from gateway import usage
from gateway.publishing import delivery
from gateway.publishing.delivery import Delivery
from gateway.publishing.outbox import Outbox
from gateway.publishing.publisher import UsagePublisher
from gateway.publishing.republisher import Republisher
from gateway.routing.breaker import BreakerRules
from gateway.usage import UsageEvent
from hosting.eventhubs.events import EventHubStream
from local.eventhubs.faults import NO_FAULTS, Faults
from local.eventhubs.server import StandIn, serve
from local.tables import SQLiteTables
from seams.clock import SystemClock
from tests.gateway.event import an_event

HUBS = {"usage": 4}
TIMEOUT = 3.0
SLACK = 10.0
"""Seconds that a busy machine may add."""


@dataclass
class Way:
    """A publisher over the SDK, and what republishes its outbox."""

    publisher: UsagePublisher
    delivery: Delivery
    outbox: Outbox
    republisher: Republisher

    async def publish(self, *names: str) -> float:
        """Publish events side by side; return the seconds that their calls waited."""
        began = time.monotonic()
        await asyncio.gather(*(self.publisher.publish(an_event(name)) for name in names))
        return time.monotonic() - began

    async def drain(self) -> None:
        """Republish until the outbox is empty."""
        async with asyncio.timeout(60):
            while await self.outbox.oldest(1):
                await self.republisher.run()


@asynccontextmanager
async def way_to(stand_in: StandIn, folder: Path, seconds: float = TIMEOUT) -> AsyncIterator[Way]:
    clock = SystemClock()
    stream = EventHubStream.by_connection_string(
        stand_in.connection_string, "usage", timeout_seconds=seconds, clock=clock
    )
    tables = SQLiteTables(folder / "tables.sqlite")
    outbox = Outbox(tables, clock, "one")
    out = Delivery(stream, outbox)
    publisher = UsagePublisher(out)
    try:
        yield Way(publisher, out, outbox, Republisher(outbox, stream, clock))
    finally:
        await publisher.close()
        await stream.close()
        await tables.close()


async def received(stand_in: StandIn, count: int) -> list[UsageEvent]:
    """Return everything that the hub holds, once it holds so many different events."""
    found: list[UsageEvent] = []
    enough = asyncio.Event()

    async def take(_: PartitionContext, events: list[EventData]) -> None:
        found.extend(usage.decode_event(event.body_as_str().encode()) for event in events)
        if len({event.id for event in found}) >= count:
            enough.set()

    client = EventHubConsumerClient.from_connection_string(
        stand_in.connection_string, consumer_group="$Default", eventhub_name="usage"
    )
    async with client:
        receiving = asyncio.create_task(client.receive_batch(take, starting_position="-1", max_wait_time=0.2))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(20):
                await enough.wait()
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)
    return found


@pytest.fixture(autouse=True)
def patient_breaker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "HUB_RULES", BreakerRules(consecutive=2, pause=1.0, longest_pause=1.0))


async def test_a_hub_that_dies_and_comes_back(tmp_path: Path) -> None:
    """What a dead hub did not take is published when it is back, and no call waits longer than it may."""
    async with serve(tmp_path / "hubs", HUBS) as stand_in:
        port = stand_in.port
        async with way_to(stand_in, tmp_path) as way:
            await way.publish("before")
            before = way.delivery.state().outboxed
            await stand_in.close()
            waited = [await way.publish(f"while-{number}") for number in range(10)]
            assert max(waited) < TIMEOUT + SLACK
            assert way.delivery.state().outboxed == before + 10
            async with serve(tmp_path / "hubs", HUBS, port=port) as back:
                await way.drain()
                async with asyncio.timeout(60):
                    while way.delivery.state().failing_for is not None:
                        await way.publish("after")
                await way.drain()
                found = await received(back, 12)
    names = {"before", "after", *(f"while-{number}" for number in range(10))}
    assert {event.id for event in found} == names
    assert {event.id for event in found if event.replayed} >= names - {"before", "after"}


async def test_a_silent_hub(tmp_path: Path) -> None:
    """A hub that takes connections and says nothing is given up after the time-out, and after that not asked."""
    async with serve(tmp_path / "hubs", HUBS) as stand_in, way_to(stand_in, tmp_path) as way:
        stand_in.broker.trouble.change(Faults(silent=True))
        waited = [await way.publish(f"call-{number}") for number in range(2)]
        assert all(TIMEOUT * 0.9 < seconds < TIMEOUT + SLACK for seconds in waited)
        assert not way.delivery.open()
        assert await way.publish("at once") < TIMEOUT
        stand_in.broker.trouble.change(NO_FAULTS)
        await way.drain()
        assert {event.id for event in await received(stand_in, 3)} == {"call-0", "call-1", "at once"}


async def test_a_throttled_hub(tmp_path: Path) -> None:
    """A batch that is refused as throttled is repeated within its time; the outbox stays empty."""
    async with serve(tmp_path / "hubs", HUBS) as stand_in, way_to(stand_in, tmp_path, seconds=20) as way:
        stand_in.broker.trouble.change(Faults(busy=1.0))
        publishing = asyncio.create_task(way.publish("one", "two"))
        async with asyncio.timeout(20):
            while not stand_in.broker.counts.busy_answers:
                await asyncio.sleep(0.01)
        stand_in.broker.trouble.change(NO_FAULTS)
        await publishing
        assert way.delivery.state().outboxed == 0
        assert Counter(event.id for event in await received(stand_in, 2)) == Counter(["one", "two"])


async def test_lost_acknowledgements(tmp_path: Path) -> None:
    """Batches whose acknowledgement is lost may be there twice, and are never missing."""
    async with serve(tmp_path / "hubs", HUBS, dice=random.Random(3)) as stand_in, way_to(stand_in, tmp_path) as way:
        stand_in.broker.trouble.change(Faults(drop_acks=0.4))
        for number in range(8):
            await way.publish(*(f"call-{number}-{part}" for part in range(5)))
        stand_in.broker.trouble.change(NO_FAULTS)
        await way.drain()
        found = await received(stand_in, 40)
    assert len({event.id for event in found}) == 40
    assert len(found) > 40
    assert way.delivery.state().lost == 0
