"""The official SDKs, unmodified, against the stand-in."""

import asyncio
import json
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from azure.eventhub import EventData, EventHubConsumerClient, EventHubProducerClient
from azure.eventhub.aio import EventHubConsumerClient as AioConsumer
from azure.eventhub.aio import EventHubProducerClient as AioProducer
from azure.eventhub.exceptions import AuthenticationError, EventHubError

from local.eventhubs.server import StandIn, connection_string

ROOT = Path(__file__).parents[3]
NODE_SDK = ROOT / ".local" / "node-sdk" / "node_modules" / "@azure" / "event-hubs"
SECONDS = 30.0


def producer(stand_in: StandIn, hub: str = "usage", **options: Any) -> AioProducer:
    return AioProducer.from_connection_string(
        stand_in.connection_string, eventhub_name=hub, **{"retry_total": 0, "retry_backoff_factor": 0} | options
    )


async def publish(stand_in: StandIn, bodies: list[bytes], partition: str) -> None:
    async with producer(stand_in) as client:
        batch = await client.create_batch(partition_id=partition)
        for body in bodies:
            batch.add(EventData(body))
        await client.send_batch(batch)


async def received(stand_in: StandIn, count: int, **options: Any) -> list[tuple[str, EventData]]:
    """Return the first events that a new consumer gets, with their partitions."""
    found: list[tuple[str, EventData]] = []
    done = asyncio.Event()

    async def take(context: Any, events: list[EventData]) -> None:
        found.extend((context.partition_id, event) for event in events)
        if len(found) >= count:
            done.set()

    client = AioConsumer.from_connection_string(
        stand_in.connection_string, consumer_group="$Default", eventhub_name="usage"
    )
    async with client, asyncio.timeout(SECONDS):
        receiving = asyncio.create_task(client.receive_batch(take, **{"starting_position": "-1"} | options))
        await done.wait()
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)
    return found


async def test_round_trip(stand_in: StandIn) -> None:
    """Batches, single events and large ones come back whole, in order, with properties, key and place."""
    async with producer(stand_in) as client:
        properties = await client.get_eventhub_properties()
        assert properties["partition_ids"] == ["0", "1", "2", "3"]
        batch = await client.create_batch(partition_key="service-desk")
        for number in range(3):
            event = EventData(b"%d" % number)
            event.properties = {"n": number, "ok": True, "share": 0.5}
            event.message_id = f"id-{number}"
            event.content_type = "application/json"
            batch.add(event)
        await client.send_batch(batch)
        await client.send_event(EventData(b"x" * 700_000), partition_key="service-desk")
        empty = await client.get_partition_properties("0")
    found = await received(stand_in, 4, track_last_enqueued_event_properties=True)
    (partition,) = {partition for partition, _ in found}
    events = [event for _, event in found]
    assert [event.sequence_number for event in events] == [0, 1, 2, 3]
    assert [event.offset for event in events] == ["0", "64", "128", "192"]
    assert {event.partition_key for event in events} == {b"service-desk"}
    assert [event.message_id for event in events] == ["id-0", "id-1", "id-2", None]
    assert events[1].properties == {b"n": 1, b"ok": True, b"share": 0.5}
    assert events[1].content_type == "application/json"
    assert events[3].body_as_str() == "x" * 700_000
    assert empty["is_empty"] == (partition != "0")
    async with producer(stand_in) as client:
        filled = await client.get_partition_properties(partition)
    assert (filled["last_enqueued_sequence_number"], filled["last_enqueued_offset"]) == (3, "192")


async def test_events_without_a_key_take_turns(stand_in: StandIn) -> None:
    """Events that name neither key nor partition are spread over the partitions."""
    async with producer(stand_in) as client:
        for number in range(4):
            await client.send_event(EventData(b"%d" % number))
    assert {partition for partition, _ in await received(stand_in, 4)} == {"0", "1", "2", "3"}


async def test_starting_positions(stand_in: StandIn) -> None:
    """A receiver begins at or after an offset or a sequence number."""
    await publish(stand_in, [b"%d" % number for number in range(5)], "2")
    positions: list[tuple[str | int, bool, int]] = [
        ("-1", False, 0),
        (2, False, 3),
        (2, True, 2),
        ("128", False, 3),
        ("128", True, 2),
    ]

    async def check(position: str | int, inclusive: bool, first: int) -> None:
        options = {"starting_position": position, "starting_position_inclusive": inclusive}
        found = await received(stand_in, 5 - first, partition_id="2", **options)
        assert [event.body_as_str() for _, event in found] == [str(number) for number in range(first, 5)]

    await asyncio.gather(*(check(*position) for position in positions))


async def test_starting_at_a_time_and_at_the_end(stand_in: StandIn) -> None:
    """A receiver begins after a time, or sees only what comes after it."""
    await publish(stand_in, [b"old"], "2")
    (_, old), *_ = await received(stand_in, 1, partition_id="2")
    hub = stand_in.broker.hubs.find("usage")
    assert hub is not None
    latest = asyncio.create_task(received(stand_in, 1, partition_id="2", starting_position="@latest"))
    async with asyncio.timeout(SECONDS):
        while not hub.is_watched(2):
            await asyncio.sleep(0.01)
    await publish(stand_in, [b"new"], "2")
    assert [event.body_as_str() for _, event in await latest] == ["new"]
    found = await received(stand_in, 1, partition_id="2", starting_position=old.enqueued_time)
    assert [event.body_as_str() for _, event in found] == ["new"]


async def test_a_checkpoint_of_another_hub(stand_in: StandIn) -> None:
    """A receiver that begins behind the end is told the last number there is, as the service tells it."""
    await publish(stand_in, [b"0"], "2")
    errors: list[Exception] = []
    told = asyncio.Event()

    async def fail(_: Any, error: Exception) -> None:
        errors.append(error)
        told.set()

    async def take(_: Any, __: list[EventData]) -> None:
        return

    client = AioConsumer.from_connection_string(
        stand_in.connection_string, consumer_group="$Default", eventhub_name="usage", retry_total=0
    )
    async with client, asyncio.timeout(SECONDS):
        receiving = asyncio.create_task(
            client.receive_batch(take, partition_id="2", starting_position=77, on_error=fail)
        )
        await told.wait()
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)
    assert "sequence number '77' is invalid. The last sequence number in the system is '0'" in str(errors[0])


async def test_a_higher_owner_takes_a_partition(stand_in: StandIn) -> None:
    """A receiver with an owner level is ended by one with a higher level, and a lower one gets nothing."""
    errors: dict[int, Exception] = {}
    taken: list[int] = []

    async def receive(level: int) -> None:
        client = AioConsumer.from_connection_string(
            stand_in.connection_string, consumer_group="$Default", eventhub_name="usage", retry_total=0
        )

        async def fail(_: Any, error: Exception) -> None:
            errors[level] = error
            await client.close()

        async def take(_: Any, __: EventData | None) -> None:
            taken.append(level)

        async with client:
            await client.receive(take, partition_id="1", owner_level=level, starting_position="-1", on_error=fail)

    tasks = [asyncio.create_task(receive(1))]
    async with asyncio.timeout(SECONDS):
        await publish(stand_in, [b"first"], "1")
        while taken != [1]:
            await asyncio.sleep(0.01)
        tasks += [asyncio.create_task(receive(2))]
        while taken != [1, 2]:
            await asyncio.sleep(0.01)
        tasks += [asyncio.create_task(receive(0))]
        while len(errors) < 2:
            await asyncio.sleep(0.01)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert set(errors) == {0, 1}
    assert "epoch" in str(errors[0])
    assert taken == [1, 2]


async def test_rejected_credentials_and_names(stand_in: StandIn) -> None:
    """A wrong key is an AuthenticationError; a hub or partition that does not exist is an error that names it."""
    wrong = connection_string(stand_in.port, "wrong")
    async with AioProducer.from_connection_string(wrong, eventhub_name="usage", retry_total=0) as client:
        with pytest.raises(AuthenticationError):
            await client.send_event(EventData(b"x"))
    async with producer(stand_in, "nothing") as client:
        with pytest.raises(EventHubError, match="nothing"):
            await client.send_event(EventData(b"x"))
        with pytest.raises(EventHubError):
            await client.get_eventhub_properties()
    async with producer(stand_in) as client:
        with pytest.raises(EventHubError):
            await client.send_event(EventData(b"x"), partition_id="9")
        with pytest.raises(EventHubError):
            await client.get_partition_properties("9")


async def test_hubs_are_apart(stand_in: StandIn) -> None:
    """What is sent to one hub is not in another."""
    async with producer(stand_in, "prompts") as client:
        await client.send_event(EventData(b"prompt"))
        assert (await client.get_partition_properties("0"))["last_enqueued_sequence_number"] == 0
        assert (await client.get_eventhub_properties())["partition_ids"] == ["0"]
    async with producer(stand_in) as client:
        assert (await client.get_partition_properties("0"))["is_empty"]


async def test_too_large_a_message(stand_in: StandIn) -> None:
    """A message over 1 MiB is refused by the broker, and the hub goes on."""
    async with producer(stand_in) as client:
        with pytest.raises(EventHubError, match="exceeds the limit"):
            await client.send_event(EventData(b"x" * 1_200_000))
        await client.send_event(EventData(b"x"))
    assert stand_in.broker.counts.events_in == 1


async def test_synchronous_sdk(stand_in: StandIn) -> None:
    """The blocking clients publish 2,000 events in a batch and receive them in order."""
    found: list[EventData] = []

    def run() -> None:
        text = stand_in.connection_string
        with EventHubProducerClient.from_connection_string(text, eventhub_name="usage") as client:
            batch = client.create_batch(partition_id="3")
            for number in range(2000):
                batch.add(EventData(b"%d" % number))
            client.send_batch(batch)
        consumer = EventHubConsumerClient.from_connection_string(text, consumer_group="$Default", eventhub_name="usage")
        done = threading.Event()

        def take(_: Any, events: list[EventData]) -> None:
            found.extend(events)
            if len(found) >= 2000:
                done.set()

        options: dict[str, Any] = {"partition_id": "3", "starting_position": "-1", "max_batch_size": 300}
        thread = threading.Thread(target=lambda: consumer.receive_batch(take, **options))
        thread.start()
        assert done.wait(SECONDS)
        consumer.close()
        thread.join(SECONDS)

    await asyncio.to_thread(run)
    assert [event.body_as_str() for event in found] == [str(number) for number in range(2000)]


@pytest.fixture
def node() -> str:
    if (program := shutil.which("node")) is None:
        pytest.skip("Node is not installed")
    if not NODE_SDK.exists():
        pytest.skip("Event Hubs' SDK for Node is not installed: tests/install_node_sdk needs npm and its registry")
    return program


async def test_javascript_sdk(stand_in: StandIn, node: str) -> None:
    """@azure/event-hubs publishes with key and to a partition, receives all of it in order, and meets no error."""
    process = await asyncio.create_subprocess_exec(
        node,
        str(Path(__file__).parent / "round_trip.mjs"),
        *(str(NODE_SDK), stand_in.connection_string, "usage"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(SECONDS):
            out, error = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, error.decode()
    seen = json.loads(out)
    assert (seen["name"], seen["partitions"], seen["errors"]) == ("usage", ["0", "1", "2", "3"], [])
    assert seen["last"] == 0
    of_key = [event for event in seen["events"] if event.get("key") == "service-desk"]
    assert [event["sequence"] for event in of_key] == list(range(21))
    assert [event["body"] for event in of_key] == [*range(20), 300_000]
    assert [event["id"] for event in of_key[:20]] == [f"id-{number}" for number in range(20)]
    assert {event["schema"] for event in of_key[:20]} == {"v1"}
    assert [event["body"] for event in seen["events"] if event["partition"] == "1" and "key" not in event] == ["single"]
