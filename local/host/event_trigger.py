"""Event Hub triggers by the rules of the real one, over a hub in the state folder or one that is reached by AMQP.

Per partition: batches in order, at most `maxEventBatchSize`; the retry policy runs in memory while the partition
waits; the checkpoint follows the batch whether the function succeeded or threw; after a crash the batch comes again.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import azure.functions as func
import msgspec
from azure.functions import meta

from local.events.event_log import StoredEvent
from local.events.event_source import EventSource
from local.host.invocations import Function
from seams.events import StreamUnavailable

_log: Final = logging.getLogger(__name__)
_UNAVAILABLE_SECONDS: Final = 1.0


class EventHubTrigger:
    """One function's subscription to one hub."""

    def __init__(self, function: Function, source: EventSource, max_batch: int, random: Callable[[], float]) -> None:
        self._function = function
        self._source = source
        self._max_batch = max_batch
        self._random = random
        self._group: str = function.trigger.consumer_group or "$Default"
        self._many = function.trigger.cardinality == func.Cardinality.MANY

    async def run(self) -> None:
        """Serve every partition until cancelled."""
        partitions = await self._partitions()
        async with asyncio.TaskGroup() as tasks:
            for partition in partitions:
                tasks.create_task(self._serve(partition), name=f"{self._function.name}-{partition}")

    async def _partitions(self) -> Sequence[str]:
        while True:
            try:
                return await self._source.partitions()
            except StreamUnavailable as error:
                _log.warning("the partitions of %s: %s", self._function.trigger.event_hub_name, error)
            await asyncio.sleep(_UNAVAILABLE_SECONDS)

    async def _serve(self, partition: str) -> None:
        while True:
            try:
                await self._source.follow(partition, self._group, self._max_batch, partial(self._take, partition))
            except StreamUnavailable as error:
                _log.warning("partition %s of %s: %s", partition, self._function.trigger.event_hub_name, error)
            except Exception:  # noqa: BLE001 - a partition must not fall silent, whatever this host gets wrong
                _log.exception("partition %s of %s", partition, self._function.trigger.event_hub_name)
            await asyncio.sleep(_UNAVAILABLE_SECONDS)

    async def _take(self, partition: str, events: Sequence[StoredEvent]) -> None:
        if self._many:
            await self._function.deliver(self._batch(events, partition), self._random)
            return
        for event in events:
            await self._function.deliver(self._single(event, partition), self._random)

    def _batch(self, events: Sequence[StoredEvent], partition: str) -> list[func.EventHubEvent]:
        metadata = batch_metadata(events, self._partition_context(partition))
        return [_event(event, metadata) for event in events]

    def _single(self, event: StoredEvent, partition: str) -> func.EventHubEvent:
        properties = _system_properties(event)
        metadata = {
            "PartitionContext": _json(self._partition_context(partition)),
            "TriggerPartitionContext": _json(self._partition_context(partition)),
            "Properties": _json({}),
            "SystemProperties": _json(properties),
            **{name: meta.Datum(str(value), "string") for name, value in properties.items()},
        }
        return _event(event, metadata)

    def _partition_context(self, partition: str) -> dict[str, str]:
        return {
            "FullyQualifiedNamespace": "localhost",
            "EventHubName": self._function.trigger.event_hub_name,
            "ConsumerGroup": self._group,
            "PartitionId": partition,
        }


def batch_metadata(events: Sequence[StoredEvent], partition_context: dict[str, str]) -> dict[str, meta.Datum]:
    """Return the trigger metadata of a batch, as the host's Event Hubs extension names and shapes it.

    Source: EventHubTriggerBindingStrategy of Microsoft.Azure.WebJobs.Extensions.EventHubs.
    """
    properties = [_system_properties(event) for event in events]
    return {
        "TriggerPartitionContext": _json(partition_context),
        "PartitionContext": _json(partition_context),
        "PartitionKeyArray": _json([each["PartitionKey"] for each in properties]),
        "OffsetArray": _json([str(each["Offset"]) for each in properties]),
        "OffsetStringArray": _json([each["OffsetString"] for each in properties]),
        "SequenceNumberArray": _json([each["SequenceNumber"] for each in properties]),
        "EnqueuedTimeUtcArray": _json([each["EnqueuedTimeUtc"] for each in properties]),
        "PropertiesArray": _json([{} for _ in properties]),
        "SystemPropertiesArray": _json(properties),
    }


def _system_properties(event: StoredEvent) -> dict[str, Any]:
    return {
        "SequenceNumber": event.sequence,
        "Offset": event.sequence,
        "OffsetString": str(event.sequence),
        "PartitionKey": event.key,
        "EnqueuedTimeUtc": event.enqueued_at.isoformat(),
    }


def _event(event: StoredEvent, metadata: dict[str, meta.Datum]) -> func.EventHubEvent:
    return func.EventHubEvent(
        body=event.body,
        trigger_metadata=metadata,
        enqueued_time=event.enqueued_at,
        partition_key=event.key,
        sequence_number=event.sequence,
        offset=str(event.sequence),
    )


def _json(value: Any) -> meta.Datum:
    return meta.Datum(msgspec.json.encode(value).decode(), "json")
