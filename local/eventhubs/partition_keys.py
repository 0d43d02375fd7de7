"""The partition of a key, as the service and the SDKs' buffered producers choose it: Jenkins' lookup3, folded.

Source: `azure.eventhub._buffered_producer._partition_resolver`, which is a port of the .NET SDK's; a test compares the
two for ASCII, beyond which the Python SDK hashes code points and the service bytes. The result is the same for a key
whoever hashes it, so that one key's events keep their order.
"""

from typing import Final

_MASK: Final = 0xFFFFFFFF
_BLOCK: Final = 12


def partition_of(key: str, partitions: int) -> int:
    """Return a partition number from 0 to partitions - 1."""
    high, low = lookup3(key.encode())
    folded = (high ^ low) & 0xFFFF
    signed = folded - 0x10000 if folded > 0x7FFF else folded
    return abs(signed) % partitions


def lookup3(data: bytes) -> tuple[int, int]:
    """Return the two 32-bit hashes of hashlittle2 with seeds of 0."""
    a = b = c = (0xDEADBEEF + len(data)) & _MASK
    at = 0
    while len(data) - at > _BLOCK:
        x, y, z = _words(data[at : at + _BLOCK])
        a, b, c = _mix((a + x) & _MASK, (b + y) & _MASK, (c + z) & _MASK)
        at += _BLOCK
    if at < len(data):
        x, y, z = _words(data[at:])
        b, c = _final((a + x) & _MASK, (b + y) & _MASK, (c + z) & _MASK)
    return c, b


def _words(block: bytes) -> tuple[int, int, int]:
    padded = block.ljust(_BLOCK, b"\x00")
    return (
        int.from_bytes(padded[:4], "little"),
        int.from_bytes(padded[4:8], "little"),
        int.from_bytes(padded[8:], "little"),
    )


def _rotated(value: int, bits: int) -> int:
    return ((value << bits) | (value >> (32 - bits))) & _MASK


def _mix(a: int, b: int, c: int) -> tuple[int, int, int]:
    for first, second, third in ((4, 6, 8), (16, 19, 4)):
        a = ((a - c) & _MASK) ^ _rotated(c, first)
        c = (c + b) & _MASK
        b = ((b - a) & _MASK) ^ _rotated(a, second)
        a = (a + c) & _MASK
        c = ((c - b) & _MASK) ^ _rotated(b, third)
        b = (b + a) & _MASK
    return a, b, c


def _final(a: int, b: int, c: int) -> tuple[int, int]:
    c = ((c ^ b) - _rotated(b, 14)) & _MASK
    a = ((a ^ c) - _rotated(c, 11)) & _MASK
    b = ((b ^ a) - _rotated(a, 25)) & _MASK
    c = ((c ^ b) - _rotated(b, 16)) & _MASK
    a = ((a ^ c) - _rotated(c, 4)) & _MASK
    b = ((b ^ a) - _rotated(a, 14)) & _MASK
    c = ((c ^ b) - _rotated(b, 24)) & _MASK
    return b, c
