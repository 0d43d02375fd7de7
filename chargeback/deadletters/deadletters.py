"""Usage events that cannot be billed: what is wrong with them, and the rows that keep them for a person to look at."""

import contextlib
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import batched
from operator import attrgetter
from typing import Any, Final

import msgspec
from msgspec.inspect import StrType, StructType, type_info

from chargeback.columns import as_bytes, as_datetime, as_int
from chargeback.lanes.lanes import Lane
from chargeback.ledger.details import RETENTION
from chargeback.ledger.rollups import day_of
from gateway.usage import Intent, Meters, Record, UsageEvent, Withdrawal, decode
from seams.events import ReceivedEvent
from seams.tables import Entity, Value

DEADLETTERS: Final = "deadletters"
"""The table."""

UNATTRIBUTED: Final = "unattributed"
"""The subscription whose statement shows what nobody is named for."""

MAX_LABELS_BYTES: Final = 8 * 1024
_CHUNK_BYTES: Final = 64 * 1024  # of a binary property
_MAX_CHUNKS: Final = 10  # an entity holds 1 MiB, names and types included
_CLOCK_SKEW: Final = timedelta(days=1)
_OLDEST: Final = timedelta(days=366)  # a lane's row of a day counts events by their own days
_EARLIEST: Final = date(2020, 1, 1)  # Table storage knows no time before 1601
# Table storage refuses some of these in values, and one refused row would hold up its whole partition for ever.
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
_ID: Final = re.compile(r"[0-9]{18}-[0-9a-f]{16}", re.ASCII)
_MAX_REQUEUES: Final = 20
_SUBSETS: Final = (
    ("prompt_tokens", attrgetter("cached_tokens", "cache_write_tokens", "audio_prompt_tokens", "image_prompt_tokens")),
    ("completion_tokens", attrgetter("reasoning_tokens", "audio_completion_tokens")),
)

DESCRIBED: Final = (
    "reason",
    "partition",
    "sequence_number",
    "incarnation",
    "enqueued_at",
    "size",
    "truncated",
    "requeues",
)
"""The columns of a dead letter beside its body."""


@dataclass(frozen=True, slots=True)
class Requeue:
    """When and by whom a dead letter was published again, and whether with a body that had been mended."""

    at: datetime
    by: str
    mended: bool


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What is known of an event that cannot be billed, but its body. `size` is in bytes."""

    id: str
    reason: str
    lane: Lane
    sequence_number: int
    enqueued_at: datetime
    size: int
    truncated: bool
    requeues: tuple[Requeue, ...] = ()


class EventImpossible(Exception):
    """A body that is no usage record of a known version, or one that cannot be true."""


def parse(received: ReceivedEvent, retention: timedelta = RETENTION) -> Record:
    """Return the usage event, intent or withdrawal; one that names no subscription is UNATTRIBUTED's.

    Raises EventImpossible. `retention` is how long detail rows are kept: what is older when the hub takes it may have
    been counted, and nothing could tell any more. A year is always too long.
    """
    try:
        record = decode(received.body)
        day = day_of(record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError) as error:
        raise EventImpossible(f"{type(error).__name__}: {error}") from error
    if _CONTROL.search("".join(_TEXTS[type(record)](record))):
        raise EventImpossible("a name holds control characters")
    if not _EARLIEST <= day <= (received.enqueued_at + _CLOCK_SKEW).date():
        raise EventImpossible("its time lies before this service, or more than a day after it was received")
    oldest = min(retention, _OLDEST)
    if received.enqueued_at - record.time > oldest:
        raise EventImpossible(f"it was more than {oldest.days} days old when the hub took it")
    if isinstance(record, UsageEvent):
        _check_subsets(record.meters)
        _check_subsets(record.avoided)
        if record.labels:
            _check_labels(record.labels)
    return record if record.subscription.strip() else msgspec.structs.replace(record, subscription=UNATTRIBUTED)


def _texts_of(kind: type[msgspec.Struct]) -> Callable[[Record], tuple[str, ...]]:
    """Return what reads the names of a record that may hold anything."""
    info = type_info(kind)
    assert isinstance(info, StructType)  # noqa: S101 - of a struct it always is
    return attrgetter(*[field.name for field in info.fields if isinstance(field.type, StrType)])


_TEXTS: Final = {kind: _texts_of(kind) for kind in (UsageEvent, Intent, Withdrawal)}


def _check_subsets(meters: Meters) -> None:
    """Refuse what would let the tokens of other requests, in whose sum it is priced, cost what they do not."""
    for name, parts in _SUBSETS:
        if max(parts(meters)) > getattr(meters, name):
            raise EventImpossible(f"some of its {name} are more than all of them")


def _check_labels(labels: dict[str, str]) -> None:
    if len(msgspec.json.encode(labels)) > MAX_LABELS_BYTES:
        raise EventImpossible(f"its labels take more than {MAX_LABELS_BYTES} bytes")


def to_entity(received: ReceivedEvent, incarnation: str, reason: str) -> Entity:
    """Return a row named by the event's place in the stream, so that redelivery means the same row again.

    PartitionKey is the year in which the hub took the event; RowKeys of later events come first. The body is
    in `body_0`, `body_1`, ... of 64 KiB each; `size` is its true length, and `truncated` says that its end did not fit.
    """
    chunks = list(batched(received.body, _CHUNK_BYTES, strict=False))
    columns: dict[str, Value] = {
        "reason": _CONTROL.sub("?", reason)[:1000],
        "partition": received.partition,
        "sequence_number": received.sequence_number,
        "incarnation": incarnation,
        "enqueued_at": received.enqueued_at,
        "size": len(received.body),
        "truncated": len(chunks) > _MAX_CHUNKS,
    }
    columns.update({f"body_{index}": bytes(chunk) for index, chunk in enumerate(chunks[:_MAX_CHUNKS])})
    place = f"{incarnation}.{received.partition} {received.sequence_number}"
    digest = hashlib.blake2b(place.encode(), digest_size=8).hexdigest()
    row = f"{_backwards(received.enqueued_at)}-{digest}"
    return Entity(partition_of(received.enqueued_at), row, columns)


def from_entity(entity: Entity) -> DeadLetter:
    columns = entity.values
    return DeadLetter(
        id=entity.row,
        reason=str(columns["reason"]),
        lane=Lane(str(columns["incarnation"]), str(columns["partition"])),
        sequence_number=as_int(columns["sequence_number"]),
        enqueued_at=as_datetime(columns["enqueued_at"]),
        size=as_int(columns["size"]),
        truncated=bool(columns["truncated"]),
        requeues=tuple(_requeue(each) for each in json.loads(str(columns.get("requeues", "[]")))),
    )


def body_of(entity: Entity) -> bytes:
    """Return the bytes that were kept, which are all where the row is not `truncated`."""
    names = [f"body_{index}" for index in range(_MAX_CHUNKS)]
    return b"".join(as_bytes(entity.values[name]) for name in names if name in entity.values)


def requeued(entity: Entity, requeue: Requeue) -> Entity:
    """Return the row with one more requeue noted; the latest 20 are kept."""
    known = (*from_entity(entity).requeues, requeue)[-_MAX_REQUEUES:]
    written = [{"at": each.at.isoformat(), "by": each.by, "mended": each.mended} for each in known]
    return replace(entity, values={**entity.values, "requeues": json.dumps(written)})


def place_of(id: str) -> str | None:  # noqa: A002 - it is called so on the wire
    """Return the PartitionKey of the dead letter of this id; None for what no dead letter is called."""
    if not _ID.fullmatch(id):
        return None
    with contextlib.suppress(OverflowError):
        return partition_of(_EPOCH + timedelta(microseconds=_LAST - int(id[:18])))
    return None


def partition_of(enqueued_at: datetime) -> str:
    return f"{enqueued_at:%Y}"


def rows_between(first: datetime, end: datetime) -> tuple[str, str]:
    """Return the RowKeys (first, end) of what was enqueued at first <= time < end."""
    return f"{int(_backwards(end)) + 1:018}", f"{int(_backwards(first)) + 1:018}"


def _backwards(moment: datetime) -> str:
    """Return digits that sort the later of two times first."""
    return f"{_LAST - (moment - _EPOCH) // timedelta(microseconds=1):018}"


def _requeue(written: dict[str, Any]) -> Requeue:
    return Requeue(datetime.fromisoformat(written["at"]), written["by"], written["mended"])
