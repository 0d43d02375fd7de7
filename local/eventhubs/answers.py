"""Performatives (2.7) and SASL frames (5.3.3) as the stand-in sends them, each a frame's body.

They have every field of their type, with nulls at the end: the Python SDK finds fields by position and knows no shorter
list.
"""

from typing import Final

from local.eventhubs.encoding import (
    NULL,
    boolean,
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
from local.eventhubs.performatives import (
    ATTACH,
    BEGIN,
    CHANNEL_MAX,
    CLOSE,
    DETACH,
    DISPOSITION,
    END,
    FLOW,
    HANDLE_MAX,
    OPEN,
    SASL_MECHANISMS,
    SASL_OUTCOME,
    TRANSFER,
    Attach,
)

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
