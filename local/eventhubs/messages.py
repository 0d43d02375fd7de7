"""Messages as Event Hubs takes and gives them: sections (3.2), batches, and the annotations that the broker adds.

A batch is a message of format 0x80013700 whose data sections are encoded messages. A partition key lies in the message
annotations, of the batch or of each event. Sections from the properties on are kept and given back as they came.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from local.eventhubs.decoding import Described, decode, map_items, skip
from local.eventhubs.encoding import (
    add_to_map,
    described,
    integer,
    long,
    map_of,
    map_of_pairs,
    string,
    symbol,
    timestamp,
)
from local.eventhubs.errors import Malformed
from local.eventhubs.log import Extent, LoggedEvent, NewEvent

BATCH_FORMAT: Final = 0x80013700
MAX_MESSAGE_BYTES: Final = 1024 * 1024
"""For a message or batch, in the Standard tier; the SDKs read it from the link."""

OFFSET_STEP: Final = 64
"""Offsets and sequence numbers differ on the service; a reader that mixes them up is to fail here, too."""

HEADER: Final = 0x70
DELIVERY_ANNOTATIONS: Final = 0x71
MESSAGE_ANNOTATIONS: Final = 0x72
PROPERTIES: Final = 0x73
APPLICATION_PROPERTIES: Final = 0x74
DATA: Final = 0x75
VALUE: Final = 0x77
FOOTER: Final = 0x78

_KEY: Final = "x-opt-partition-key"
_SEQUENCE: Final = symbol("x-opt-sequence-number")
_OFFSET: Final = symbol("x-opt-offset")
_ENQUEUED: Final = symbol("x-opt-enqueued-time")
_BROKERS_OWN: Final = frozenset({"x-opt-sequence-number", "x-opt-offset", "x-opt-enqueued-time"})


class Section(NamedTuple):
    """`begin` is where a section begins in its message, `value_at` where its value does, `end` what lies behind."""

    code: int
    begin: int
    value_at: int
    end: int


class Published(NamedTuple):
    """Events of one message or batch in their order, and the partition key that they have in common, if any."""

    events: list[NewEvent]
    key: str | None


def sections(message: bytes) -> Iterator[Section]:
    """Yield a message's sections. Raises Malformed."""
    at = 0
    while at < len(message):
        if message[at] != 0:
            raise Malformed(f"byte {at} begins no section")
        code, value_at = decode(message, at + 1)
        if not isinstance(code, int) or not HEADER <= code <= FOOTER:
            raise Malformed(f"no section has the descriptor {code!r}")
        end = skip(message, value_at)
        yield Section(code, at, value_at, end)
        at = end


def published(message: bytes, message_format: int) -> Published:
    """Return what a peer published. Raises Malformed."""
    if message_format != BATCH_FORMAT:
        event, key = _event(message, {})
        return Published([event], key)
    envelope = list(sections(message))
    shared = _annotations(message, envelope)
    events, key = [], _key(shared)
    for section in envelope:
        if section.code == DATA:
            encoded, _ = decode(message, section.value_at)
            if not isinstance(encoded, bytes):
                raise Malformed("a data section holds no bytes")
            event, own_key = _event(encoded, shared)
            events.append(event)
            key = key or own_key
    return Published(events, key)


def delivered(event: LoggedEvent, extent: Extent | None, now_ms: int) -> bytes:
    """Return the message that a receiver is sent.

    With an extent it tells the partition's end, for receivers that asked for the runtime metric.
    """
    broker = [
        _SEQUENCE + long(event.sequence),
        _OFFSET + string(offset_of(event.sequence)),
        _ENQUEUED + timestamp(event.enqueued_ms),
    ]
    message = described(MESSAGE_ANNOTATIONS, add_to_map(event.annotations, broker)) + event.body
    return message if extent is None else _runtime_metric(extent, now_ms) + message


def offset_of(sequence: int) -> str:
    """Return an event's offset, "-1" for the place before the first event."""
    return str(max(-1, sequence * OFFSET_STEP))


def reply(correlation: bytes, code: int, text: str, body: bytes) -> bytes:
    """Return an answer of `$cbs` or `$management`. `correlation` is the request's encoded message-id.

    Both SDKs look for the status under either name, depending on the node that answers.
    """
    status = {
        string("status-code"): integer(code),
        string("statusCode"): integer(code),
        string("status-description"): string(text),
        string("statusDescription"): string(text),
    }
    properties = b"\x40" * 5 + correlation
    fields = b"\xd0" + (len(properties) + 4).to_bytes(4) + (6).to_bytes(4) + properties
    return described(PROPERTIES, fields) + described(APPLICATION_PROPERTIES, map_of(status)) + described(VALUE, body)


def _event(message: bytes, shared: dict[str, bytes]) -> tuple[NewEvent, str | None]:
    parts = list(sections(message))
    annotations = shared | _annotations(message, parts)
    kept = [part for part in parts if part.code >= PROPERTIES]
    for part in kept:
        _check(message, part)
    body = b"".join(message[part.begin : part.end] for part in kept)
    return NewEvent(map_of_pairs(list(annotations.values())), body), _key(annotations)


def _check(message: bytes, part: Section) -> None:
    """Refuse what would go through as raw bytes and then stop every receiver. Raises Malformed."""
    value, end = decode(message, part.value_at)
    if end != part.end or (part.code == PROPERTIES and not isinstance(value, list)):
        raise Malformed(f"the section at byte {part.begin} does not hold what it says")


def _annotations(message: bytes, parts: Sequence[Section]) -> dict[str, bytes]:
    """Return the message annotations that a peer may set: encoded pairs by name."""
    kept: dict[str, bytes] = {}
    for part in parts:
        if part.code == MESSAGE_ANNOTATIONS:
            pairs = map_items(message, part.value_at)
            kept.update({str(name): pair for name, pair in pairs if name not in _BROKERS_OWN})
    return kept


def _key(annotations: dict[str, bytes]) -> str | None:
    pair = annotations.get(_KEY)
    if pair is None:
        return None
    key, _ = decode(pair, skip(pair, 0))
    if isinstance(key, Described) or not isinstance(key, str | bytes):
        return None
    return key.decode(errors="replace") if isinstance(key, bytes) else key


def _runtime_metric(extent: Extent, now_ms: int) -> bytes:
    return described(
        DELIVERY_ANNOTATIONS,
        map_of(
            {
                symbol("last_enqueued_sequence_number"): long(extent.last),
                symbol("last_enqueued_offset"): string(offset_of(extent.last)),
                symbol("last_enqueued_time_utc"): timestamp(extent.last_enqueued_ms),
                symbol("runtime_info_retrieval_time_utc"): timestamp(now_ms),
            }
        ),
    )
