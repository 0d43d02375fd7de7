"""Undoes the compression of an answer (RFC 9110, 8.4.1), a little at a time.

Backends are asked for none; this is for those that compress regardless.
"""

import zlib
from typing import Final

MOST_AT_ONCE: Final = 65_536
"""Bytes: what one step may make of a few bytes, so that an answer of nothing but zeros fills no memory."""

GZIP_BITS: Final = 31
DEFLATE_BITS: Final = 15
RAW_BITS: Final = -15
"""Window sizes as zlib.decompressobj takes them, which say the format as well."""

WINDOWS: Final = {b"gzip": GZIP_BITS, b"x-gzip": GZIP_BITS, b"deflate": DEFLATE_BITS}


class Undecodable(Exception):
    """The bytes are not what the answer's header says."""


class Decoder:
    __slots__ = ("_full", "_pending", "_unpacker", "_window")

    def __init__(self, coding: bytes) -> None:
        """Take a content coding in lower case, one of WINDOWS."""
        self._window = WINDOWS[coding]
        self._unpacker: zlib._Decompress | None = None
        self._pending = b""
        self._full = False

    def feed(self, data: bytes) -> None:
        self._pending += data

    def read(self) -> bytes:
        """Return the next bytes; none where more have to be fed first. Raises Undecodable."""
        while self._pending or self._full:
            if self._unpacker is None:
                self._unpacker = zlib.decompressobj(self._window_for(self._pending[0]))
            try:
                data = self._unpacker.decompress(self._pending, MOST_AT_ONCE)
            except zlib.error as error:
                raise Undecodable("the compressed answer cannot be unpacked") from error
            self._pending = self._unpacker.unconsumed_tail
            # zlib may have taken in all bytes and still hold back what it made of them.
            self._full = len(data) == MOST_AT_ONCE
            if self._unpacker.eof:
                # Another gzip member may follow (RFC 1952, 2.2).
                self._pending, self._unpacker, self._full = self._unpacker.unused_data, None, False
            if data:
                return data
        return b""

    @property
    def finished(self) -> bool:
        """Tell whether what was fed ends where compressed data end."""
        return self._unpacker is None and not self._pending

    def _window_for(self, first: int) -> int:
        # "deflate" means the zlib format, whose first byte ends in 8; some servers send the bare data instead.
        return RAW_BITS if self._window == DEFLATE_BITS and first & 0x0F != 8 else self._window
