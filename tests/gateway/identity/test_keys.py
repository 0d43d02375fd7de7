"""Keys: what they are made of, and what is taken for one."""

import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.identity.keys import LENGTH, digest_of, new_key, well_formed


def test_a_key_is_random_and_safe_in_urls_and_headers() -> None:
    """Two keys differ; each is the prefix, 32 bytes and a checksum in URL-safe characters."""
    first, second = new_key(os.urandom), new_key(os.urandom)
    assert first != second
    assert re.fullmatch(r"tg_[A-Za-z0-9_-]{49}", first)
    assert len(first) == LENGTH
    assert len(digest_of(first.encode())) == 32


@given(st.binary(min_size=32, max_size=32))
def test_every_key_that_is_made_is_well_formed(seed: bytes) -> None:
    """Whatever the random bytes, the key passes for one of ours."""
    assert well_formed(new_key(lambda _: seed).encode())


@given(st.integers(0, LENGTH - 1), st.sampled_from(b"abcXYZ019_-"))
def test_a_mistyped_key_is_not(place: int, letter: int) -> None:
    """One wrong character anywhere shows."""
    key = bytearray(new_key(lambda _: bytes(range(32))).encode())
    if key[place] == letter:
        return
    key[place] = letter
    assert not well_formed(bytes(key))


@pytest.mark.parametrize("key", [b"", b"tg_", b"sk-team-a", b"tg_" + b"A" * 49, b"eyJ.a.b", b"\xff" * 52])
def test_what_is_no_key(key: bytes) -> None:
    """Other people's keys and tokens are not taken for ours."""
    assert not well_formed(key)
