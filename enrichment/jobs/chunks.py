"""Bytes in the columns of one row: `body_0`, `body_1`, ... of 64 KiB each, compressed.

Table storage takes 64 KiB in a binary property; the limit in all is what fits into one transaction beside the job's own
row, where binary is base64 (`seams.tables.MAX_BYTES`). JSON of tickets shrinks to a third and less.
"""

import zlib
from collections.abc import Mapping
from itertools import count
from typing import Final

from seams.tables import Value

CHUNK_BYTES: Final = 64 * 1024
MAX_BYTES: Final = 10 * CHUNK_BYTES
"""655,360 bytes, compressed."""

_LEVEL: Final = 1
"""Four times as fast as the usual one, and hardly larger."""


class TooLarge(Exception):
    """More bytes than a row takes; the message says how many there are and how many fit."""


def split(body: bytes) -> dict[str, Value]:
    """Return the columns. Raises TooLarge."""
    kept = zlib.compress(body, _LEVEL)
    if len(kept) > MAX_BYTES:
        raise TooLarge(f"{len(kept)} bytes compressed, and at most {MAX_BYTES} can be kept")
    return columns_of(kept)


def columns_of(body: bytes) -> dict[str, Value]:
    """Return bytes in columns as they are."""
    return {
        f"body_{place}": body[start : start + CHUNK_BYTES]
        for place, start in enumerate(range(0, len(body), CHUNK_BYTES))
    }


def join(columns: Mapping[str, Value]) -> bytes:
    """Return what was split."""
    return zlib.decompress(bytes_of(columns))


def bytes_of(columns: Mapping[str, Value]) -> bytes:
    """Return what `columns_of` put into columns."""
    kept = bytearray()
    for place in count():
        chunk = columns.get(f"body_{place}")
        if not isinstance(chunk, bytes):
            break
        kept += chunk
    return bytes(kept)
