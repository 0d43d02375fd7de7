"""AMQP values against the SDK's own encoder, and against bytes that are none."""

import contextlib
import struct
import uuid

import pytest
from azure.eventhub._pyamqp._encode import encode_value
from azure.eventhub._pyamqp.types import AMQPTypes
from hypothesis import given
from hypothesis import strategies as st

from local.eventhubs import encoding
from local.eventhubs.decoding import Described, decode, map_items, skip
from local.eventhubs.errors import Malformed

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**31), 2**31 - 1),
    st.floats(allow_nan=False),
    st.text(max_size=300),
    st.binary(max_size=300),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=20,
)


def encoded_by_sdk(value: object) -> bytes:
    output = bytearray()
    encode_value(output, value)
    return bytes(output)


@given(VALUES)
def test_reads_what_the_sdk_writes(value: object) -> None:
    """Each value that azure-eventhub encodes is read back equal, and skipped to the same end."""
    encoded = encoded_by_sdk(value)
    assert decode(encoded + b"\x40") == (value, len(encoded))
    assert skip(encoded + b"\x40", 0) == len(encoded)


@given(st.binary(max_size=200), st.integers(0, 5))
def test_any_bytes_are_a_value_or_malformed(buffer: bytes, at: int) -> None:
    """Whatever a peer sends is read or refused as malformed, and nothing else happens."""
    for read in (decode, skip):
        with contextlib.suppress(Malformed):
            read(buffer, at)


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        b"\x00" * 40,
        b"\xff\x00",
        b"\xa1\x05abc",
        b"\xa1\x02\xff\xff",
        b"\xb0\xff\xff\xff\xffabc",
        b"\xc0\x03\x05\x40\x40",
        b"\xf0" + struct.pack(">II", 5, 2**32 - 1) + b"\x40",
        b"\xd1" + struct.pack(">II", 6, 2) + b"\x45\x40",
        b"\xc0\xff" * 60,
    ],
    ids=["empty", "descriptors", "no constructor", "short", "no utf-8", "huge", "items", "nulls", "list key", "nested"],
)
def test_malformed(encoded: bytes) -> None:
    """Cut, nested, hostile and nonsensical values are refused."""
    with pytest.raises(Malformed):
        decode(encoded)


def test_what_is_written_is_read() -> None:
    """Each kind of value that the stand-in writes has the type and size that its name says."""
    cases: list[tuple[bytes, object]] = [
        (encoding.uint(0), 0),
        (encoding.uint(255), 255),
        (encoding.uint(2**32 - 1), 2**32 - 1),
        (encoding.ulong(0x80), 0x80),
        (encoding.ulong(2**40), 2**40),
        (encoding.ushort(7), 7),
        (encoding.ubyte(7), 7),
        (encoding.integer(-1), -1),
        (encoding.long(-(2**63)), -(2**63)),
        (encoding.timestamp(1_700_000_000_000), 1_700_000_000_000),
        (encoding.string("ü" * 200), "ü" * 200),
        (encoding.binary(b"\x00" * 300), b"\x00" * 300),
        (encoding.symbol("amqp:not-found"), "amqp:not-found"),
        (encoding.strings(["0", "1"]), ["0", "1"]),
        (encoding.symbols(["PLAIN"]), ["PLAIN"]),
        (encoding.described(0x24, encoding.list_of([])), Described(0x24, [])),
        (
            encoding.add_to_map(encoding.map_of({encoding.string("b"): encoding.NULL}), [b"\xa1\x01a\x41"]),
            {"a": True, "b": None},
        ),
    ]
    for encoded, expected in cases:
        assert decode(encoded) == (expected, len(encoded))


def test_map_items_are_kept_as_they_came() -> None:
    """A map's pairs can be passed on without being understood: their bytes are the sender's."""
    encoded = encoded_by_sdk({"id": {"TYPE": AMQPTypes.uuid, "VALUE": uuid.UUID(int=1)}, "n": 1})
    pairs = dict(map_items(encoded, 0))
    assert decode(encoding.map_of_pairs(list(pairs.values())))[0] == decode(encoded)[0]
    assert pairs["id"].endswith(uuid.UUID(int=1).bytes)
    with pytest.raises(Malformed):
        map_items(b"\x45", 0)
