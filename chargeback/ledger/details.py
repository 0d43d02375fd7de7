"""Detail rows: one per usage event, the audit trail of the rollups."""

import json
from datetime import date, timedelta
from typing import Final

import msgspec

from chargeback.keys import key
from chargeback.ledger.rollups import METERS, NOTHING
from gateway.usage import UsageEvent
from seams.tables import Entity, Value

USAGE: Final = "usage"
"""The table."""

RETENTION: Final = timedelta(days=90)
"""How long rows are kept where nobody says otherwise."""

_NESTED: Final = frozenset({"meters", "avoided", "labels"})
_FIELDS: Final = UsageEvent.__struct_fields__
_AVOIDED: Final = tuple(f"avoided_{meter}" for meter in METERS)


def detail_partition(subscription: str, day: date) -> str:
    """Return PartitionKey `subscription|yyyymmdd`; `day` is the event's, in UTC."""
    return key(subscription, f"{day:%Y%m%d}")


def detail_row(identity: str) -> str:
    return key(identity)


def to_entity(event: UsageEvent, partition: str, lane: str, sequence_number: int) -> Entity:
    """Return the event's row: a column for each field that says something; `labels` is JSON."""
    columns: dict[str, Value] = {"lane": lane, "sequence_number": sequence_number}
    fields = zip(_FIELDS, msgspec.structs.astuple(event), strict=True)
    columns.update([(name, value) for name, value in fields if value and name not in _NESTED])
    columns.update(_counts(METERS, msgspec.structs.astuple(event.meters)))
    if event.avoided != NOTHING:
        columns.update(_counts(_AVOIDED, msgspec.structs.astuple(event.avoided)))
    if event.labels:
        # ASCII alone, whatever a label holds: a character that the store refuses would hold up the whole batch.
        columns["labels"] = json.dumps(event.labels)
    return Entity(partition, detail_row(event.id), columns)


def _counts(names: tuple[str, ...], counts: tuple[int, ...]) -> list[tuple[str, int]]:
    return [(name, count) for name, count in zip(names, counts, strict=True) if count]
