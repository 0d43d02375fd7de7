"""Subscription keys: random, shown once, afterwards known by their SHA-256 alone.

A key is `tg_`, 32 random bytes and the CRC-32 of both, in URL-safe base64: 52 characters. The checksum keeps no secret:
it tells a mistyped or made-up key from one that may have been given out, so that such a key costs no look-up.
"""

import base64
import hashlib
import zlib
from collections.abc import Callable
from typing import Literal

type Slot = Literal["primary", "secondary"]
"""A subscription has two keys, so that one can be replaced while the other is in use."""

PREFIX = b"tg_"
RANDOM_BYTES = 32
LENGTH = 52


def new_key(random_bytes: Callable[[int], bytes]) -> str:
    """Return a key made of 32 bytes that `random_bytes` gives; os.urandom but in tests."""
    body = PREFIX + _text(random_bytes(RANDOM_BYTES))
    return (body + _checksum(body)).decode()


def well_formed(key: bytes) -> bool:
    """Tell whether the key can have been made by `new_key`."""
    return len(key) == LENGTH and key.startswith(PREFIX) and key[-6:] == _checksum(key[:-6])


def digest_of(key: bytes) -> bytes:
    """Return what is kept of a key: its SHA-256, 32 bytes."""
    return hashlib.sha256(key).digest()


def _checksum(body: bytes) -> bytes:
    return _text(zlib.crc32(body).to_bytes(4))


def _text(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
