"""Bytes in the columns of one row: `body_0`, `body_1`, ... of 64 KiB each.

Table storage takes 64 KiB in a binary property and 1 MiB in an entity, names and the other columns included; Cosmos DB
takes 2 MiB in an entity, in which binary is base64.
"""

from collections.abc import Mapping
from itertools import batched, count
from typing import Final

from seams.tables import Value

CHUNK_BYTES: Final = 64 * 1024
MAX_BYTES: Final = 15 * CHUNK_BYTES
"""983,040 bytes."""


class TooLarge(Exception):
    """More bytes than a row takes; the message says how many there are and how many fit."""


def split(body: bytes) -> dict[str, Value]:
    """Return the columns. Raises TooLarge."""
    if len(body) > MAX_BYTES:
        raise TooLarge(f"{len(body)} bytes, and at most {MAX_BYTES} can be kept")
    return {f"body_{place}": bytes(chunk) for place, chunk in enumerate(batched(body, CHUNK_BYTES, strict=False))}


def join(columns: Mapping[str, Value]) -> bytes:
    """Return what was split."""
    body = bytearray()
    for place in count():
        chunk = columns.get(f"body_{place}")
        if not isinstance(chunk, bytes):
            return bytes(body)
        body += chunk
    raise AssertionError  # count() does not end
