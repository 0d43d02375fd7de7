"""Performatives (2.7) and SASL frames (5.3.3) as peers send them, checked. They may leave the last fields out."""

from typing import Annotated, Any, Final, Literal

import msgspec

from local.eventhubs.decoding import Described, decode
from local.eventhubs.errors import DECODE, Malformed, Violation

OPEN, BEGIN, ATTACH, FLOW, TRANSFER, DISPOSITION, DETACH, END, CLOSE = range(0x10, 0x19)
SASL_MECHANISMS: Final = 0x40
SASL_INIT: Final = 0x41
SASL_OUTCOME: Final = 0x44

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


def _address(terminus: Any) -> str:
    """Return a source's or target's address (3.5.3, 3.5.4); both hold it first."""
    fields = terminus.value if isinstance(terminus, Described) else None
    address = fields[0] if isinstance(fields, list) and fields else None
    return address if isinstance(address, str) else ""
