"""Usage events that cannot be billed: what is wrong with them, and the rows that keep them for a person to look at."""

import re
from datetime import date, timedelta
from itertools import batched
from typing import Final

import msgspec

from chargeback.keys import key
from chargeback.rollups import day_of
from gateway.usage import UsageEvent, decode_event
from seams.events import ReceivedEvent
from seams.tables import Entity, Value

MAX_LABELS_BYTES: Final = 8 * 1024
_CHUNK_BYTES: Final = 64 * 1024  # of a binary property
_MAX_CHUNKS: Final = 10  # an entity holds 1 MiB, names and types included
_CLOCK_SKEW: Final = timedelta(days=1)
_EARLIEST: Final = date(2020, 1, 1)  # Table storage knows no time before 1601
# Table storage refuses some of these in values, and one refused row would hold up its whole partition for ever.
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


class EventImpossible(Exception):
    """A body that is no usage event of a known version, or one that cannot be true."""


def parse(received: ReceivedEvent) -> UsageEvent:
    """Return the event. Raises EventImpossible."""
    try:
        event = decode_event(received.body)
        day = day_of(event)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError) as error:
        raise EventImpossible(f"{type(error).__name__}: {error}") from error
    names = [value for value in msgspec.structs.astuple(event) if isinstance(value, str)]
    if _CONTROL.search("".join(names)):
        raise EventImpossible("a name holds control characters")
    if not _EARLIEST <= day <= (received.enqueued_at + _CLOCK_SKEW).date():
        raise EventImpossible("its time lies before this service, or more than a day after it was received")
    if event.labels and len(msgspec.json.encode(event.labels)) > MAX_LABELS_BYTES:
        raise EventImpossible(f"its labels take more than {MAX_LABELS_BYTES} bytes")
    return event


def to_entity(received: ReceivedEvent, incarnation: str, reason: str) -> Entity:
    """Return a row named by the event's place in the stream, so that redelivery writes the same row again.

    The body is in `body_0`, `body_1`, ... of 64 KiB each; `size` is its true length, and `truncated` says that its end
    did not fit.
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
    partition = key(received.partition, f"{received.enqueued_at:%Y%m%d}")
    return Entity(partition, key(incarnation, f"{received.sequence_number:020}"), columns)
