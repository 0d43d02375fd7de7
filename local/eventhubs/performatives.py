"""Performatives (2.7) and SASL frames (5.3.3): what peers send, checked, and what they are sent.

What is sent has every field of its type, with nulls at the end: the Python SDK finds fields by position and knows no
shorter list. What is received may leave the last fields out.
"""

from typing import Annotated, Any, Final, Literal

import msgspec

from local.eventhubs.errors import DECODE, Malformed, Violation
from local.eventhubs.values import (
    NULL,
    Described,
    boolean,
    decode,
    described,
    list_of,
    map_of,
    string,
    symbol,
    symbols,
    ubyte,
    uint,
    ulong,
    ushort,
)

OPEN, BEGIN, ATTACH, FLOW, TRANSFER, DISPOSITION, DETACH, END, CLOSE = range(0x10, 0x19)
SASL_MECHANISMS: Final = 0x40
SASL_INIT: Final = 0x41
SASL_OUTCOME: Final = 0x44
_ERROR: Final = 0x1D
_ACCEPTED: Final = 0x24
_REJECTED: Final = 0x25
_SOURCE: Final = 0x28
_TARGET: Final = 0x29

_FIELDS: Final = {
    OPEN: 10,
    BEGIN: 8,
    ATTACH: 14,
    FLOW: 11,
    TRANSFER: 11,
    DISPOSITION: 6,
    DETACH: 3,
    END: 1,
    CLOSE: 1,
    SASL_MECHANISMS: 1,
    SASL_OUTCOME: 2,
}

WINDOW: Final = 2**31 - 1
CHANNEL_MAX: Final = 255
HANDLE_MAX: Final = 255

UInt = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]


class Open(msgspec.Struct, array_like=True, frozen=True):
    """`idle_time_out` is milliseconds."""

    container_id: str
    hostname: str | None = None
    max_frame_size: UInt | None = None
    channel_max: UInt | None = None
    idle_time_out: UInt | None = None


class Begin(msgspec.Struct, array_like=True, frozen=True):
    remote_channel: UInt | None
    next_outgoing_id: UInt
    incoming_window: UInt
    outgoing_window: UInt


class Attach(msgspec.Struct, array_like=True, frozen=True):
    """`receives` is the role: whether the peer receives messages on this link."""

    name: str
    handle: Annotated[int, msgspec.Meta(ge=0, le=HANDLE_MAX)]
    receives: bool
    snd_settle_mode: UInt | None = None
    rcv_settle_mode: UInt | None = None
    source: Any = None
    target: Any = None
    unsettled: Any = None
    incomplete_unsettled: Any = None
    initial_delivery_count: UInt | None = None
    max_message_size: int | None = None
    offered_capabilities: Any = None
    desired_capabilities: Any = None
    properties: dict[str, Any] | None = None

    @property
    def source_address(self) -> str:
        return _address(self.source)

    @property
    def target_address(self) -> str:
        return _address(self.target)


class Flow(msgspec.Struct, array_like=True, frozen=True):
    next_incoming_id: UInt | None
    incoming_window: UInt
    next_outgoing_id: UInt
    outgoing_window: UInt
    handle: UInt | None = None
    delivery_count: UInt | None = None
    link_credit: UInt | None = None
    available: UInt | None = None
    drain: bool | None = None
    echo: bool | None = None


class Transfer(msgspec.Struct, array_like=True, frozen=True):
    handle: UInt
    delivery_id: UInt | None = None
    delivery_tag: Any = None
    message_format: UInt | None = None
    settled: bool | None = None
    more: bool | None = None
    rcv_settle_mode: Any = None
    state: Any = None
    resume: Any = None
    aborted: bool | None = None


class Detach(msgspec.Struct, array_like=True, frozen=True):
    handle: UInt
    closed: bool | None = None
    error: Any = None


type Performative = Open | Begin | Attach | Flow | Transfer | Detach | Literal["end", "close", "disposition", "init"]

_RECEIVED: Final[dict[int, type[Open | Begin | Attach | Flow | Transfer | Detach]]] = {
    OPEN: Open,
    BEGIN: Begin,
    ATTACH: Attach,
    FLOW: Flow,
    TRANSFER: Transfer,
    DETACH: Detach,
}
_BARE: Final[dict[int, Literal["end", "close", "disposition", "init"]]] = {
    END: "end",
    CLOSE: "close",
    DISPOSITION: "disposition",
    SASL_INIT: "init",
}


def performative_of(body: bytes) -> tuple[Performative, bytes]:
    """Read a frame's body: the performative, and the payload behind a transfer's.

    A disposition's fields do not matter: Event Hubs keeps nothing about what its receivers settle. Raises Violation.
    """
    try:
        value, end = decode(body)
        if isinstance(value, Described) and isinstance(value.value, list):
            if (bare := _BARE.get(value.descriptor)) is not None:
                return bare, b""
            if (kind := _RECEIVED.get(value.descriptor)) is not None:
                return msgspec.convert(value.value, kind), body[end:]
    except (Malformed, msgspec.ValidationError, TypeError) as wrong:
        raise Violation(DECODE, str(wrong)) from wrong
    raise Violation(DECODE, "a frame's body begins with a performative")


def sasl_mechanisms() -> bytes:
    """Offer what the SDKs ask for; who may do what is decided by tokens put to `$cbs`, not here."""
    return _performative(SASL_MECHANISMS, symbols(("MSSBCBS", "ANONYMOUS", "PLAIN", "EXTERNAL")))


def sasl_ok() -> bytes:
    return _performative(SASL_OUTCOME, ubyte(0))


def open_(container: str, *, max_frame: int, idle_milliseconds: int) -> bytes:
    return _performative(OPEN, string(container), NULL, uint(max_frame), ushort(CHANNEL_MAX), uint(idle_milliseconds))


def begin(channel: int) -> bytes:
    return _performative(BEGIN, ushort(channel), uint(0), uint(WINDOW), uint(WINDOW), uint(HANDLE_MAX))


def attach(asked: Attach, *, max_message: int) -> bytes:
    """Answer an attach with our half of the link, source and target as they were asked for.

    Deliveries to a receiver are sent settled (mode 1): Event Hubs expects no disposition for them.
    """
    return _performative(
        ATTACH,
        string(asked.name),
        uint(asked.handle),
        boolean(not asked.receives),
        ubyte(1 if asked.receives else asked.snd_settle_mode or 0),
        ubyte(0),
        _terminus(_SOURCE, asked.source_address),
        _terminus(_TARGET, asked.target_address),
        NULL,
        NULL,
        uint(0) if asked.receives else NULL,
        ulong(max_message),
    )


def attach_refused(asked: Attach, *, max_message: int) -> bytes:
    """Answer an attach that a detach with the reason follows.

    Without our terminus, as 2.6.3 wants it, where the peer sends. A receiver of the Python SDK forgets the reason then
    and begins anew without an end, so it gets a whole answer.
    """
    if asked.receives:
        return attach(asked, max_message=max_message)
    source = _terminus(_SOURCE, asked.source_address)
    return _performative(
        ATTACH, string(asked.name), uint(asked.handle), boolean(True), ubyte(0), ubyte(0), source, NULL
    )


def flow(*, next_incoming: int, next_outgoing: int, handle: int, delivery_count: int, credit: int) -> bytes:
    return _performative(
        FLOW,
        uint(next_incoming),
        uint(WINDOW),
        uint(next_outgoing),
        uint(WINDOW),
        uint(handle),
        uint(delivery_count),
        uint(credit),
        uint(0),
        boolean(False),
        boolean(False),
    )


def transfer(handle: int, delivery_id: int, *, more: bool) -> bytes:
    tag = b"\xa0\x04" + delivery_id.to_bytes(4)
    return _performative(TRANSFER, uint(handle), uint(delivery_id), tag, uint(0), boolean(True), boolean(more))


def accepted(delivery_id: int) -> bytes:
    return _settled(delivery_id, described(_ACCEPTED, list_of([])))


def rejected(delivery_id: int, condition: str, description: str) -> bytes:
    return _settled(delivery_id, described(_REJECTED, list_of([error(condition, description)])))


def detach(handle: int, reason: bytes = NULL) -> bytes:
    return _performative(DETACH, uint(handle), boolean(True), reason)


def end() -> bytes:
    return _performative(END)


def close(reason: bytes = NULL) -> bytes:
    return _performative(CLOSE, reason)


def error(condition: str, description: str) -> bytes:
    return described(_ERROR, list_of([symbol(condition), string(description), map_of({})]))


def _settled(delivery_id: int, state: bytes) -> bytes:
    return _performative(DISPOSITION, boolean(True), uint(delivery_id), uint(delivery_id), boolean(True), state)


def _performative(code: int, *fields: bytes) -> bytes:
    return described(code, list_of([*fields, *[NULL] * (_FIELDS[code] - len(fields))]))


def _terminus(code: int, address: str) -> bytes:
    return described(code, list_of([string(address) if address else NULL]))


def _address(terminus: Any) -> str:
    """Return a source's or target's address (3.5.3, 3.5.4); both hold it first."""
    fields = terminus.value if isinstance(terminus, Described) else None
    address = fields[0] if isinstance(fields, list) and fields else None
    return address if isinstance(address, str) else ""
