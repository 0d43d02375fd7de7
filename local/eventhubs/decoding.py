"""Bytes to AMQP values (part 1, section 1.6), in bounds whatever the bytes are.

Symbols come as str, decimals as None since nothing here needs them.
"""

import struct
from typing import Any, Final, NamedTuple

from local.eventhubs.errors import Malformed

MAX_DEPTH: Final = 16

_CONSTANTS: Final[dict[int, Any]] = {0x40: None, 0x41: True, 0x42: False, 0x43: 0, 0x44: 0}
_FIXED: Final = {
    code: struct.Struct(layout)
    for code, layout in {
        0x50: ">B",
        0x51: ">b",
        0x52: ">B",
        0x53: ">B",
        0x54: ">b",
        0x55: ">b",
        0x56: ">?",
        0x60: ">H",
        0x61: ">h",
        0x70: ">I",
        0x71: ">i",
        0x72: ">f",
        0x73: ">I",
        0x80: ">Q",
        0x81: ">q",
        0x82: ">d",
        0x83: ">q",
        0x98: ">16s",
    }.items()
}
_DECIMAL_BYTES: Final = {0x74: 4, 0x84: 8, 0x94: 16}


class Described(NamedTuple):
    """A value with a descriptor, such as a performative or a message section."""

    descriptor: Any
    value: Any


def decode(buffer: bytes, at: int = 0) -> tuple[Any, int]:
    """Return the value that begins at an offset, and the offset behind it. Raises Malformed."""
    try:
        return _decode(buffer, at, 0)
    except (IndexError, struct.error, UnicodeDecodeError, TypeError) as error:
        raise Malformed(f"no AMQP value at byte {at}: {error}") from error


def skip(buffer: bytes, at: int) -> int:
    """Return the offset behind the value that begins at an offset, without reading it. Raises Malformed."""
    try:
        end = _skip(buffer, at)
    except (IndexError, RecursionError) as error:
        raise Malformed(f"no AMQP value at byte {at}") from error
    if end > len(buffer):
        raise Malformed(f"the AMQP value at byte {at} is cut off")
    return end


def map_items(buffer: bytes, at: int) -> list[tuple[Any, bytes]]:
    """Return a map's keys, each with the encoded pair that it begins. Raises Malformed."""
    code = buffer[at]
    if code not in (0xC1, 0xD1):
        raise Malformed(f"no AMQP map at byte {at}")
    count, at, end = _bounds(buffer, at + 1, code)
    items = []
    for _ in range(count // 2):
        key, value_at = decode(buffer, at)
        behind = skip(buffer, value_at)
        items.append((key, buffer[at:behind]))
        at = behind
    if at > end:
        raise Malformed("a map's items are longer than the map")
    return items


def _decode(buffer: bytes, at: int, depth: int) -> tuple[Any, int]:
    code = buffer[at]
    if code == 0:
        if depth >= MAX_DEPTH:
            raise Malformed(f"values are nested more than {MAX_DEPTH} deep")
        descriptor, at = _decode(buffer, at + 1, depth + 1)
        value, at = _decode(buffer, at, depth + 1)
        return Described(descriptor, value), at
    return _of_code(buffer, at + 1, code, depth)


def _of_code(buffer: bytes, at: int, code: int, depth: int) -> tuple[Any, int]:
    """Read a value whose constructor was read already, as an array's items have theirs in common."""
    if code in _CONSTANTS:
        return _CONSTANTS[code], at
    if (fixed := _FIXED.get(code)) is not None:
        return fixed.unpack_from(buffer, at)[0], at + fixed.size
    if code == 0x45:
        return [], at
    if code in _DECIMAL_BYTES:
        return None, at + _DECIMAL_BYTES[code]
    if code >> 4 in (0xA, 0xB):
        return _decode_variable(buffer, at, code)
    if code >> 4 in (0xC, 0xD, 0xE, 0xF):
        return _decode_compound(buffer, at, code, depth)
    raise Malformed(f"0x{code:02x} begins no AMQP value")


def _decode_variable(buffer: bytes, at: int, code: int) -> tuple[bytes | str, int]:
    width = 1 if code >> 4 == 0xA else 4
    at += width
    end = at + int.from_bytes(buffer[at - width : at])
    if end > len(buffer):
        raise Malformed(f"the value that ends at byte {end} is cut off")
    raw = bytes(buffer[at:end])
    match code & 0xF:
        case 0:
            return raw, end
        case 1:
            return raw.decode(), end
        case 3:
            return raw.decode("ascii"), end
    raise Malformed(f"0x{code:02x} begins no AMQP value")


def _decode_compound(buffer: bytes, at: int, code: int, depth: int) -> tuple[Any, int]:
    if depth >= MAX_DEPTH:
        raise Malformed(f"values are nested more than {MAX_DEPTH} deep")
    count, at, end = _bounds(buffer, at, code)
    items = []
    if code >> 4 >= 0xE:
        item_code, at = buffer[at], at + 1
        for _ in range(count):
            item, at = _of_code(buffer, at, item_code, depth + 1)
            items.append(item)
    else:
        for _ in range(count):
            item, at = _decode(buffer, at, depth + 1)
            items.append(item)
    if at != end:
        raise Malformed("a value's items are longer or shorter than the value")
    if code & 0xF == 1:
        return dict(zip(items[::2], items[1::2], strict=False)), end
    return items, end


def _bounds(buffer: bytes, at: int, code: int) -> tuple[int, int, int]:
    """Return a compound's number of items, where they begin and where it ends."""
    width = 1 if code >> 4 in (0xC, 0xE) else 4
    size = int.from_bytes(buffer[at : at + width])
    count = int.from_bytes(buffer[at + width : at + 2 * width])
    end = at + width + size
    # Items of no width could be claimed by the billion.
    if end > len(buffer) or size < width or count > size:
        raise Malformed(f"the compound value that ends at byte {end} is cut off")
    return count, at + 2 * width, end


def _skip(buffer: bytes, at: int) -> int:
    code = buffer[at]
    at += 1
    if code == 0:
        return _skip(buffer, _skip(buffer, at))
    width = code >> 4
    if width in (0x4, 0x5, 0x6, 0x7, 0x8, 0x9):
        return at + (0, 1, 2, 4, 8, 16)[width - 4]
    if width in (0xA, 0xC, 0xE):
        return at + 1 + buffer[at]
    if width in (0xB, 0xD, 0xF):
        return at + 4 + int.from_bytes(buffer[at : at + 4])
    raise Malformed(f"0x{code:02x} begins no AMQP value")
