"""AMQP values to bytes (1.6): each function returns one encoded value, and those of compound types take encoded items.

So what was received can be passed on as it came.
"""

import struct
from collections.abc import Iterable, Mapping
from typing import Final

NULL: Final = b"\x40"
EMPTY_LIST: Final = b"\x45"
_MAP_HEAD_BYTES: Final = 9
_MAP_HEAD: Final = struct.Struct(">BII")


def boolean(value: bool) -> bytes:
    return b"\x41" if value else b"\x42"


def ubyte(value: int) -> bytes:
    return b"\x50" + value.to_bytes(1)


def ushort(value: int) -> bytes:
    return b"\x60" + value.to_bytes(2)


def uint(value: int) -> bytes:
    if value < 256:
        return b"\x52" + value.to_bytes(1) if value else b"\x43"
    return b"\x70" + value.to_bytes(4)


def ulong(value: int) -> bytes:
    if value < 256:
        return b"\x53" + value.to_bytes(1) if value else b"\x44"
    return b"\x80" + value.to_bytes(8)


def integer(value: int) -> bytes:
    return b"\x71" + value.to_bytes(4, signed=True)


def long(value: int) -> bytes:
    return b"\x81" + value.to_bytes(8, signed=True)


def timestamp(milliseconds: int) -> bytes:
    return b"\x83" + milliseconds.to_bytes(8, signed=True)


def binary(value: bytes) -> bytes:
    return _variable(0xA0, value)


def string(text: str) -> bytes:
    return _variable(0xA1, text.encode())


def symbol(text: str) -> bytes:
    return _variable(0xA3, text.encode("ascii"))


def list_of(items: Iterable[bytes]) -> bytes:
    encoded = list(items)
    return _compound(0xD0, encoded, len(encoded)) if encoded else EMPTY_LIST


def map_of(pairs: Mapping[bytes, bytes]) -> bytes:
    return map_of_pairs([key + value for key, value in pairs.items()])


def map_of_pairs(pairs: list[bytes]) -> bytes:
    """Return a map of pairs that are encoded already."""
    return _compound(0xD1, pairs, 2 * len(pairs))


def add_to_map(encoded: bytes, pairs: list[bytes]) -> bytes:
    """Return a map, as `map_of` encodes it, with further pairs in front."""
    count = _MAP_HEAD.unpack_from(encoded)[2]
    return _compound(0xD1, [*pairs, encoded[_MAP_HEAD_BYTES:]], count + 2 * len(pairs))


def strings(texts: Iterable[str]) -> bytes:
    """Return an array of strings."""
    encoded = [text.encode() for text in texts]
    body = b"\xb1" + b"".join(len(each).to_bytes(4) + each for each in encoded)
    return b"\xf0" + struct.pack(">II", len(body) + 4, len(encoded)) + body


def symbols(texts: Iterable[str]) -> bytes:
    """Return an array of symbols."""
    encoded = [text.encode("ascii") for text in texts]
    body = b"\xa3" + b"".join(len(each).to_bytes(1) + each for each in encoded)
    return b"\xf0" + struct.pack(">II", len(body) + 4, len(encoded)) + body


def described(descriptor: int, value: bytes) -> bytes:
    return b"\x00" + ulong(descriptor) + value


def _variable(code: int, raw: bytes) -> bytes:
    if len(raw) < 256:
        return bytes((code, len(raw))) + raw
    return bytes((code + 0x10,)) + len(raw).to_bytes(4) + raw


def _compound(code: int, items: list[bytes], count: int) -> bytes:
    body = b"".join(items)
    return bytes((code,)) + struct.pack(">II", len(body) + 4, count) + body
