"""Event Hub triggers: batches, retries and checkpoints as the real one has them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import azure.functions as func
import pytest

from hosting.functions.triggers import received_events
from local.events.event_source import LocalSource
from local.events.events import LocalStream
from local.host.event_trigger import EventHubTrigger
from local.host.invocations import Function

PARTITION = "1"


class Collector:
    """What the function under test got, batch by batch, and what it does about it."""

    def __init__(self) -> None:
        self.batches: list[list[bytes]] = []
        self.retries: list[tuple[int, int]] = []
        self.metadata: dict[str, Any] = {}
        self.fail: Callable[[list[bytes]], bool] = lambda _: False
        self.changed = asyncio.Event()

    def take(self, events: list[func.EventHubEvent], context: Any) -> None:
        received = received_events(events)
        assert {event.partition for event in received} == {PARTITION}
        self.batches.append([event.body for event in received])
        self.retries.append((context.retry_context.retry_count, context.retry_context.max_retry_count))
        self.metadata = dict(events[0].metadata or {})
        self.changed.set()
        if self.fail(self.batches[-1]):
            raise ValueError("on purpose")

    async def until(self, batches: int) -> None:
        async with asyncio.timeout(30):
            while len(self.batches) < batches:
                self.changed.clear()
                await self.changed.wait()


@pytest.fixture
async def stream(tmp_path: Path) -> AsyncIterator[LocalStream]:
    opened = LocalStream(tmp_path / "hub.sqlite")
    yield opened
    await opened.close()


@pytest.fixture
async def collector() -> Collector:
    return Collector()


def registered(collector: Collector, *, retry: dict[str, Any] | None = None, many: bool = True) -> Function:
    app = func.FunctionApp()

    async def collect(events: Any, context: Any) -> None:
        collector.take(events if many else [events], context)

    decorated: Any = app.retry(**retry)(collect) if retry else collect
    app.event_hub_message_trigger(
        arg_name="events",
        event_hub_name="usage",
        connection="EVENTHUB",
        cardinality="many" if many else "one",
        consumer_group="billing",
    )(decorated)
    return Function(app.get_functions()[0], Path("/app"))


@contextlib.asynccontextmanager
async def running(function: Function, stream: LocalStream, max_batch: int = 10) -> AsyncIterator[None]:
    task = asyncio.create_task(EventHubTrigger(function, LocalSource(stream), max_batch, lambda: 0.5).run())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def checkpointed(stream: LocalStream, sequence: int) -> None:
    """Wait until the group's checkpoint is there."""
    async with asyncio.timeout(30):
        while await stream.checkpoint("billing", PARTITION) != sequence:
            await asyncio.sleep(0.01)


async def test_batches_in_order_and_bounded(stream: LocalStream, collector: Collector) -> None:
    """Events come in order, in batches of at most the host's size, and the checkpoint follows."""
    await stream.publish([b"%d" % number for number in range(25)], "service-desk")
    async with running(registered(collector), stream):
        await collector.until(3)
        await checkpointed(stream, 24)
    assert [len(batch) for batch in collector.batches] == [10, 10, 5]
    assert [body for batch in collector.batches for body in batch] == [b"%d" % number for number in range(25)]


async def test_metadata_shape(stream: LocalStream, collector: Collector) -> None:
    """The trigger metadata has the names and shapes that the real host gives."""
    await stream.publish([b"a", b"b"], "service-desk")
    async with running(registered(collector), stream):
        await collector.until(1)
    assert collector.metadata["PartitionContext"]["PartitionId"] == PARTITION
    assert collector.metadata["PartitionContext"]["ConsumerGroup"] == "billing"
    assert collector.metadata["SequenceNumberArray"] == [0, 1]
    assert [each["SequenceNumber"] for each in collector.metadata["SystemPropertiesArray"]] == [0, 1]
    assert collector.metadata["PartitionKeyArray"] == ["service-desk", "service-desk"]


async def test_failure_without_policy_is_passed_over(stream: LocalStream, collector: Collector) -> None:
    """Without a retry policy a batch that fails is checkpointed all the same, as on the real host."""
    collector.fail = lambda batch: batch == [b"bad"]
    await stream.publish([b"bad"], "service-desk")
    async with running(registered(collector), stream):
        await checkpointed(stream, 0)
        await stream.publish([b"good"], "service-desk")
        await collector.until(2)
    assert collector.batches == [[b"bad"], [b"good"]]
    assert collector.retries == [(0, 0), (0, 0)]


async def test_bounded_retries(stream: LocalStream, collector: Collector) -> None:
    """The batch is tried as often as the policy says, told each time, and then passed over."""
    collector.fail = lambda _: True
    retry: dict[str, Any] = {"strategy": "fixed_delay", "max_retry_count": "2", "delay_interval": "00:00:00"}
    await stream.publish([b"bad"], "service-desk")
    async with running(registered(collector, retry=retry), stream):
        await checkpointed(stream, 0)
    assert collector.retries == [(0, 2), (1, 2), (2, 2)]


async def test_retries_without_end_hold_the_partition(stream: LocalStream, collector: Collector) -> None:
    """With -1 nothing is skipped: the batch comes again until it succeeds, and only then the next."""
    collector.fail = lambda _: len(collector.batches) < 8
    retry: dict[str, Any] = {
        "strategy": "exponential_backoff",
        "max_retry_count": "-1",
        "minimum_interval": "00:00:00",
        "maximum_interval": "00:00:00",
    }
    await stream.publish([b"a"], "service-desk")
    async with running(registered(collector, retry=retry), stream, max_batch=1):
        await stream.publish([b"b"], "service-desk")
        await checkpointed(stream, 1)
    assert collector.batches == [[b"a"]] * 8 + [[b"b"]]


async def test_what_was_cut_off_comes_again(stream: LocalStream, collector: Collector) -> None:
    """A batch whose function was still running when the host ended is delivered again by the next."""
    hold = asyncio.Event()

    app = func.FunctionApp()

    @app.event_hub_message_trigger(
        arg_name="events", event_hub_name="usage", connection="EVENTHUB", cardinality="many", consumer_group="billing"
    )
    async def collect(events: Any) -> None:
        hold.set()
        await asyncio.Event().wait()

    await stream.publish([b"a"], "service-desk")
    async with running(Function(app.get_functions()[0], Path("/app")), stream):
        await hold.wait()
    async with running(registered(collector), stream):
        await collector.until(1)
    assert collector.batches == [[b"a"]]


async def test_cardinality_one(stream: LocalStream, collector: Collector) -> None:
    """With cardinality one each event is an invocation of its own."""
    await stream.publish([b"a", b"b"], "service-desk")
    async with running(registered(collector, many=False), stream):
        await collector.until(2)
        await checkpointed(stream, 1)
    assert collector.batches == [[b"a"], [b"b"]]
    assert collector.metadata["SystemProperties"]["SequenceNumber"] == 1


async def test_stream_out_of_reach(tmp_path: Path, collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
    """A stream that cannot be read is waited for, and said so."""
    (tmp_path / "hub.sqlite").write_bytes(b"not a database, and long enough to be sure of it" * 100)
    stream = LocalStream(tmp_path / "hub.sqlite")
    async with running(registered(collector), stream):
        async with asyncio.timeout(30):
            while "not a database" not in caplog.text:
                await asyncio.sleep(0.01)
    await stream.close()


async def test_a_partition_never_falls_silent(
    stream: LocalStream, collector: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever goes wrong between two batches is logged, and the partition is taken up again."""
    monkeypatch.setattr("local.host.event_trigger._UNAVAILABLE_SECONDS", 0)
    read, faults = stream.next_events, iter([KeyError("on purpose")])

    async def faulty(partition: str, after: int, limit: int) -> Any:
        for fault in faults:
            raise fault
        return await read(partition, after, limit)

    monkeypatch.setattr(stream, "next_events", faulty)
    await stream.publish([b"a"], "service-desk")
    async with running(registered(collector), stream):
        await collector.until(1)
    assert "on purpose" in caplog.text
