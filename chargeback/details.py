"""Detail rows: one per usage event, the audit trail of the rollups."""

import json
from typing import Final

import msgspec

from chargeback.keys import key
from chargeback.rollups import day_of
from gateway.usage import UsageEvent
from seams.tables import Entity, Value

_NESTED: Final = frozenset({"meters", "avoided", "labels"})


def detail_key(event: UsageEvent) -> tuple[str, str]:
    """Return PartitionKey `subscription|yyyymmdd` and RowKey, the event's id."""
    return key(event.subscription, f"{day_of(event):%Y%m%d}"), key(event.id)


def to_entity(event: UsageEvent, lane: str, sequence_number: int) -> Entity:
    """Return the event's row: a column for each field that says something; `labels` is JSON."""
    columns: dict[str, Value] = {"lane": lane, "sequence_number": sequence_number}
    fields = msgspec.structs.asdict(event)
    columns.update({name: value for name, value in fields.items() if name not in _NESTED and value not in ("", False)})
    columns.update({name: count for name, count in msgspec.structs.asdict(event.meters).items() if count})
    columns.update({f"avoided_{name}": count for name, count in msgspec.structs.asdict(event.avoided).items() if count})
    if event.labels:
        # ASCII alone, whatever a label holds: a character that the store refuses would hold up the whole batch.
        columns["labels"] = json.dumps(event.labels)
    partition, row = detail_key(event)
    return Entity(partition, row, columns)
