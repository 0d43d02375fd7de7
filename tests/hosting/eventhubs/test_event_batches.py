"""Batches that we encode are what the SDK would have made of them, byte for byte."""

import pytest
from azure.eventhub import EventData, EventDataBatch
from hypothesis import given
from hypothesis import strategies as st

from hosting.eventhubs.event_batches import fill


def batch(size: int = 1_000_000) -> EventDataBatch:
    return EventDataBatch(max_size_in_bytes=size, partition_key="service-desk")


def by_the_sdk(bodies: list[bytes], size: int = 1_000_000) -> EventDataBatch:
    made = batch(size)
    for body in bodies:
        try:
            made.add(EventData(body))
        except ValueError:
            break
    return made


def contents(made: EventDataBatch) -> tuple[list[bytes], int, int]:
    return [bytes(event) for event in made._message[5]], made.size_in_bytes, len(made)


LENGTHS = st.sampled_from([0, 1, 100, 200, 215, 216, 217, 218, 219, 220, 225, 254, 255, 256, 257, 1000, 70_000])


@given(st.lists(LENGTHS, max_size=8), st.sampled_from([100, 300, 1000, 100_000, 1_000_000]))
def test_byte_for_byte(lengths: list[int], size: int) -> None:
    """Events of any length, in a batch of any size: same bytes, same sizes, same number of them."""
    bodies = [bytes([number]) * length for number, length in enumerate(lengths)]
    ours = batch(size)
    count = fill(ours, bodies)
    assert contents(ours) == contents(by_the_sdk(bodies, size))
    assert count == len(ours)


def test_full() -> None:
    """A batch takes events in order up to its limit, and none where the first alone is over it."""
    assert fill(batch(1000), [b"x" * 300] * 5) == 2
    assert fill(batch(1000), [b"x" * 1000, b"small"]) == 0
    assert fill(batch(), []) == 0


def test_an_sdk_that_encodes_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the SDK's bytes are not what we know, it encodes every event itself."""
    monkeypatch.setattr("hosting.eventhubs.event_batches._DATA", b"?")
    ours = batch()
    bodies = [b"one", b"two" * 100]
    assert fill(ours, bodies) == 2
    assert contents(ours) == contents(by_the_sdk(bodies))
    assert fill(batch(500), [b"x" * 300] * 5) == 1
