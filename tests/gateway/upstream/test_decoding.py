"""Compressed answers: unpacked to the last byte, and never much at a time."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.decoding import MOST_AT_ONCE, Decoder, Undecodable


def unpacked(coding: bytes, *pieces: bytes) -> bytes:
    decoder = Decoder(coding)
    data = b""
    for piece in pieces:
        decoder.feed(piece)
        while part := decoder.read():
            assert len(part) <= MOST_AT_ONCE
            data += part
    assert decoder.finished
    return data


@given(st.binary(max_size=2_000), st.integers(0, 200), st.integers(0, 3_000))
def test_what_was_packed_is_unpacked(data: bytes, times: int, cut: int) -> None:
    """Any data come back whole, in either format, wherever their bytes are cut."""
    data *= times
    for coding, packed in ((b"gzip", gzip.compress(data)), (b"deflate", zlib.compress(data))):
        assert unpacked(coding, packed[:cut], packed[cut:]) == data


@pytest.mark.parametrize("size", [MOST_AT_ONCE - 1, MOST_AT_ONCE, MOST_AT_ONCE + 1, 3 * MOST_AT_ONCE])
def test_nothing_is_held_back(size: int) -> None:
    """What is as long as one step, or as several, comes whole, before further bytes are fed."""
    assert unpacked(b"gzip", gzip.compress(b"\0" * size)) == b"\0" * size


def test_a_step_makes_little_of_much() -> None:
    """A hundred megabytes of zeros come in small steps."""
    decoder = Decoder(b"gzip")
    decoder.feed(gzip.compress(b"\0" * 100_000_000, 1))
    assert len(decoder.read()) == MOST_AT_ONCE


@pytest.mark.parametrize("coding", [b"gzip", b"x-gzip", b"deflate"])
def test_what_is_not_packed(coding: bytes) -> None:
    """Bytes that are not what the header says are refused."""
    decoder = Decoder(coding)
    decoder.feed(b"no such thing at all")
    with pytest.raises(Undecodable):
        b"".join(iter(decoder.read, b""))
