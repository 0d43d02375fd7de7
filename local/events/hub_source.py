"""An event hub as a source of triggers, read by the real azure-eventhub consumer as Azure's host reads it with .NET's.

What azure-eventhub 5.15 does, by its source: a batch is handed over as soon as there is anything, and the next one when
the callback has returned, so a function's retries hold the partition. After an error it would begin again from the
position it was given first, not from the last event; so an error ends the following here, and the trigger starts it
anew from the checkpoint. It leaves sockets open, too, so those that it opened are noted and ended. Receivers have owner
level 0, as those of a Functions host have.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC
from typing import Any, Final, Never, cast

from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, PartitionContext
from azure.eventhub.amqp import AmqpMessageBodyType

from hosting.eventhubs.events import EventHubStream
from hosting.eventhubs.hub_connection import NotedTransport
from local.events.checkpoints import Checkpoints
from local.events.event_log import StoredEvent
from local.events.event_source import Take
from seams.clock import SystemClock
from seams.events import StreamUnavailable

type OnBatch = Callable[[PartitionContext, list[EventData]], Awaitable[None]]
type OnError = Callable[[PartitionContext, Exception], Awaitable[None]]

_ASK_SECONDS: Final = 10.0
_CLOSE_SECONDS: Final = 1.0
_AGAIN_SECONDS: Final = 1.0
"""After which the SDK, without a word, asks again for partitions that it could not; by default it waits for 30."""

_PREFETCHED_BATCHES: Final = 3
"""host.json's `prefetchCount` is three times its `maxEventBatchSize`."""


class HubSource:
    """One hub, reached by a connection string. Raises StreamUnavailable where the hub does not answer."""

    def __init__(self, connection_string: str, hub: str, checkpoints: Checkpoints) -> None:
        self._connection_string = connection_string
        self._hub = hub
        self._checkpoints = checkpoints

    async def partitions(self) -> Sequence[str]:
        """See EventSource."""
        stream = EventHubStream.by_connection_string(
            self._connection_string, self._hub, timeout_seconds=_ASK_SECONDS, clock=SystemClock()
        )
        try:
            return sorted(await stream.partitions(), key=int)
        finally:
            await stream.close()

    async def follow(self, partition: str, group: str, max_batch: int, take: Take) -> Never:
        """See EventSource."""
        failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        client = self._client(group)
        noted = NotedTransport.install(client)
        receiving = asyncio.create_task(
            client.receive_batch(
                self._on_batch(partition, group, take, failed),
                partition_id=partition,
                owner_level=0,
                max_batch_size=max_batch,
                prefetch=_PREFETCHED_BATCHES * max_batch,
                on_error=self._on_error(failed),
                **_start(self._checkpoints.read(group, partition)),
            )
        )
        try:
            watched: set[asyncio.Future[None]] = {receiving, failed}
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            if failed.done():
                await failed
            raise StreamUnavailable(f"event hub {self._hub}: the consumer of partition {partition} ended")
        finally:
            failed.cancel()
            receiving.cancel()
            await asyncio.wait({receiving}, timeout=_CLOSE_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await client.close()
            noted.abort()

    def _on_batch(self, partition: str, group: str, take: Take, failed: asyncio.Future[None]) -> OnBatch:
        async def on_batch(_: PartitionContext, events: list[EventData]) -> None:
            if not events or failed.done():
                return
            try:
                await take([_stored(event) for event in events])
                self._checkpoints.save(group, partition, _number(events[-1]))
            except Exception as error:  # noqa: BLE001 - the SDK would swallow it and go on behind the batch
                failed.set_exception(error)

        return on_batch

    def _on_error(self, failed: asyncio.Future[None]) -> OnError:
        async def on_error(_: PartitionContext, error: Exception) -> None:
            if not failed.done():
                failed.set_exception(StreamUnavailable(f"event hub {self._hub}: {error}"))

        return on_error

    def _client(self, group: str) -> EventHubConsumerClient:
        return EventHubConsumerClient.from_connection_string(
            self._connection_string,
            consumer_group=group,
            eventhub_name=self._hub,
            retry_total=0,
            load_balancing_interval=_AGAIN_SECONDS,
        )


def _start(checkpoint: int) -> dict[str, Any]:
    if checkpoint < 0:
        return {"starting_position": "-1"}
    return {"starting_position": checkpoint, "starting_position_inclusive": False}


def _stored(event: EventData) -> StoredEvent:
    time = event.enqueued_time
    if time is None:
        raise ValueError("the hub sent an event without its time")
    return StoredEvent(_number(event), time.astimezone(UTC), _key(event), _body(event))


def _key(event: EventData) -> str:
    """Return the partition key; a producer may have annotated its event with anything."""
    key: object = event.partition_key
    return key.decode(errors="replace") if isinstance(key, bytes) else "" if key is None else str(key)


def _number(event: EventData) -> int:
    if event.sequence_number is None:
        raise ValueError("the hub sent an event without its sequence number")
    return event.sequence_number


def _body(event: EventData) -> bytes:
    """Return the bytes of the data sections; what is no bytes goes as text, for the function to refuse."""
    if event.body_type == AmqpMessageBodyType.VALUE:
        return str(event.body).encode()
    parts = cast("Iterable[object]", event.body)
    return b"".join(part if isinstance(part, bytes) else str(part).encode() for part in parts)
