"""What an Event Hub trigger hands over, as the product's own received events."""

from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any

import azure.functions as func

from seams.events import ReceivedEvent


def received_events(events: Sequence[func.EventHubEvent]) -> list[ReceivedEvent]:
    """Convert one batch, which the trigger takes from one partition, in order.

    Raises ValueError where the partition, a sequence number or a time is missing: nothing could be collected exactly
    once then.
    """
    if not events:
        return []
    partition = partition_of(events[0].metadata)
    return [_received(event, partition) for event in events]


def partition_of(metadata: Mapping[str, Any] | None) -> str:
    """Return the partition's id from trigger metadata, which is common to all events of a batch.

    The Event Hubs extension puts `PartitionContext` there, and the same as `TriggerPartitionContext`: JSON of .NET's
    PartitionContext with FullyQualifiedNamespace, EventHubName, ConsumerGroup and PartitionId. Raises ValueError
    without any: two partitions under one name would lose events without a trace.
    """
    for name in ("PartitionContext", "TriggerPartitionContext"):
        context = (metadata or {}).get(name)
        if isinstance(context, Mapping):
            folded = {str(key).lower(): value for key, value in context.items()}
            if folded.get("partitionid") not in (None, ""):
                return str(folded["partitionid"])
    raise ValueError("the trigger does not name the partition of its batch")


def _received(event: func.EventHubEvent, partition: str) -> ReceivedEvent:
    number, time = event.sequence_number, event.enqueued_time
    if number is None or time is None:
        raise ValueError(f"an event of partition {partition} came without its sequence number or time")
    # The extension gives .NET's DateTime of unspecified kind, which is UTC without saying so.
    enqueued_at = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    return ReceivedEvent(event.get_body(), partition, int(number), enqueued_at)
