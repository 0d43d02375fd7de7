"""What publishing costs, and how long an invocation goes on after its caller has the last byte."""

import asyncio
import time
from collections.abc import Sequence
from statistics import quantiles
from typing import Final

import msgspec

from bench.collecting import Batches, Case
from bench.memory import MemoryTables
from gateway.publishing.delivery import Delivery
from gateway.publishing.outbox import Outbox
from gateway.publishing.publisher import UsagePublisher
from gateway.usage import UsageEvent, decode_event
from hosting.eventhubs.events import EventHubStream
from seams.clock import SystemClock

CALLERS: Final = (1, 64, 512)
TIMEOUT_SECONDS: Final = 10.0


class Sample(msgspec.Struct, frozen=True):
    """`p50` and `p99` are milliseconds from handing an event over to its acknowledgement; `cpu_us` is per event."""

    callers: int
    rate: float
    p50: float
    p99: float
    cpu_us: float


async def publish(connection_string: str, callers: int, seconds: float) -> Sample:
    """Let so many calls end one after another, each waiting for its own event, as invocations do."""
    clock = SystemClock()
    stream = EventHubStream.by_connection_string(
        connection_string, "usage", timeout_seconds=TIMEOUT_SECONDS, clock=clock
    )
    delivery = Delivery(stream, Outbox(MemoryTables(), clock, "bench"))
    publisher = UsagePublisher(delivery)
    events = [decode_event(each.body) for each in Batches(Case("memory", 1000, details=False, intents=False)).next()]
    await asyncio.gather(*(publisher.publish(event) for event in events))  # opens every connection
    began, cpu = time.perf_counter(), time.process_time()
    delays = await _run(publisher, events, callers, seconds)
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    await publisher.close()
    await stream.close()
    cuts = quantiles(delays, n=100)
    return Sample(callers, len(delays) / wall, cuts[49] * 1e3, cuts[98] * 1e3, cpu / len(delays) * 1e6)


async def _run(publisher: UsagePublisher, events: Sequence[UsageEvent], callers: int, seconds: float) -> list[float]:
    """Return how long each event took, in seconds."""
    delays: list[float] = []
    end = time.perf_counter() + seconds

    async def call(number: int) -> None:
        while (began := time.perf_counter()) < end:
            await publisher.publish(events[number % len(events)])
            delays.append(time.perf_counter() - began)
            number += callers

    await asyncio.gather(*(call(number) for number in range(callers)))
    return delays
