"""What an Event Hub trigger hands over."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import azure.functions as func
import pytest
from azure.functions import meta

from hosting.functions.triggers import partition_of, received_events

NOON = datetime(2026, 5, 6, 12, tzinfo=UTC)


def event(number: int | None, time: datetime | None, context: Any = None) -> func.EventHubEvent:
    metadata = {} if context is None else {"PartitionContext": meta.Datum(json.dumps(context), "json")}
    return func.EventHubEvent(body=b"x", trigger_metadata=metadata, enqueued_time=time, sequence_number=number)


def test_batch() -> None:
    """Events keep order, number and body; a time without a zone is UTC, one with a zone is converted."""
    there = NOON.astimezone(timezone(timedelta(hours=2)))
    first, second = received_events(
        [event(7, NOON.replace(tzinfo=None), {"PartitionId": "3"}), event(8, there, {"PartitionId": "3"})]
    )
    assert (first.partition, first.sequence_number, first.enqueued_at, first.body) == ("3", 7, NOON, b"x")
    assert second.enqueued_at == NOON
    assert second.enqueued_at.tzinfo is UTC


def test_no_events() -> None:
    """An empty batch is an empty list."""
    assert received_events([]) == []


@pytest.mark.parametrize(
    ("metadata", "partition"),
    [
        ({"PartitionContext": {"PartitionId": "5"}}, "5"),
        ({"PartitionContext": {"partitionId": 5}}, "5"),
        ({"PartitionContext": None, "TriggerPartitionContext": {"PartitionId": "0"}}, "0"),
    ],
)
def test_partition(metadata: dict[str, Any] | None, partition: str) -> None:
    """The partition is found under either name and any case."""
    assert partition_of(metadata) == partition


@pytest.mark.parametrize("metadata", [{"PartitionContext": {"ConsumerGroup": "$Default"}}, None])
def test_no_partition(metadata: dict[str, Any] | None) -> None:
    """Without a partition the batch is refused: under another's name its events would be taken for old ones."""
    with pytest.raises(ValueError, match="does not name the partition"):
        partition_of(metadata)


@pytest.mark.parametrize(("number", "time"), [(None, NOON), (1, None)])
def test_event_that_cannot_be_placed(number: int | None, time: datetime | None) -> None:
    """Without number or time an event cannot be collected exactly once: the whole batch is refused."""
    with pytest.raises(ValueError, match="sequence number or time"):
        received_events([event(number, time, {"PartitionId": "0"})])
