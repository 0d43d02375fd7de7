"""AMQP frames and protocol headers (2.2, 2.3): eight bytes that say what follows.

A frame's head is its size with itself, the offset of its body in words of four bytes, its type and its channel. A frame
without a body keeps a connection alive (2.4.5).
"""

import struct
from typing import Final, NamedTuple

from local.eventhubs.errors import FRAMING, Violation

HEAD_BYTES: Final = 8
MAX_FRAME_BYTES: Final = 65536
"""The size that Event Hubs offers, too; a peer must take 512 at least (2.4.1)."""

MIN_FRAME_BYTES: Final = 512
AMQP_FRAME: Final = 0
SASL_FRAME: Final = 1

AMQP_HEADER: Final = b"AMQP\x00\x01\x00\x00"
SASL_HEADER: Final = b"AMQP\x03\x01\x00\x00"

_HEAD: Final = struct.Struct(">IBBH")


class Head(NamedTuple):
    """`size` and `body_at` are bytes from the frame's beginning."""

    size: int
    body_at: int
    kind: int
    channel: int


def head_of(raw: bytes) -> Head:
    """Read a frame's head. Raises Violation where no frame of ours can follow."""
    size, words, kind, channel = _HEAD.unpack(raw)
    if not HEAD_BYTES <= size <= MAX_FRAME_BYTES or not 2 <= words <= size // 4:
        raise Violation(
            FRAMING, f"a frame of {size} bytes with its body at word {words}; {MAX_FRAME_BYTES} is the most"
        )
    return Head(size, words * 4, kind, channel)


def frame(channel: int, body: bytes, kind: int = AMQP_FRAME) -> bytes:
    return _HEAD.pack(HEAD_BYTES + len(body), 2, kind, channel) + body


HEARTBEAT: Final = frame(0, b"")
