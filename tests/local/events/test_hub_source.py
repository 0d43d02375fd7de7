"""A hub as a source of triggers: the real consumer against the stand-in."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from hosting.eventhubs.events import EventHubStream
from local.eventhubs.encoding import NULL, binary, described, list_of, map_of, symbol, ulong
from local.eventhubs.faults import NO_FAULTS, Faults
from local.eventhubs.messages import DATA, MESSAGE_ANNOTATIONS, PROPERTIES, VALUE
from local.eventhubs.performatives import DISPOSITION
from local.eventhubs.server import StandIn, serve
from local.events.checkpoints import Checkpoints
from local.events.event_log import StoredEvent
from local.events.hub_source import HubSource
from seams.clock import SystemClock
from seams.events import StreamUnavailable
from tests.local.eventhubs.peer import connected, event_of

SECONDS = 30.0
SEQUENCE = 0x76
GROUP = "billing"


@pytest.fixture
async def stand_in(tmp_path: Path) -> AsyncIterator[StandIn]:
    async with serve(tmp_path / "hubs", {"usage": 1}, key=None) as opened:
        yield opened


@pytest.fixture
def source(stand_in: StandIn, tmp_path: Path) -> HubSource:
    return HubSource(stand_in.connection_string, "usage", Checkpoints(tmp_path / "checkpoints"))


async def publish(stand_in: StandIn, *bodies: bytes) -> None:
    stream = EventHubStream.by_connection_string(
        stand_in.connection_string, "usage", timeout_seconds=SECONDS, clock=SystemClock()
    )
    await stream.publish(bodies, "service-desk")
    await stream.close()


class Taken:
    """What was handed over, batch by batch; a body among `refused` fails its batch once."""

    def __init__(self, *refused: bytes) -> None:
        self.batches: list[Sequence[StoredEvent]] = []
        self._refused = list(refused)
        self._grown = asyncio.Event()

    async def take(self, events: Sequence[StoredEvent]) -> None:
        self.batches.append(events)
        self._grown.set()
        for event in events:
            if event.body in self._refused:
                self._refused.remove(event.body)
                raise KeyError("on purpose")

    async def until(self, last: bytes) -> None:
        async with asyncio.timeout(SECONDS):
            while not self.batches or self.batches[-1][-1].body != last:
                self._grown.clear()
                await self._grown.wait()


@contextlib.asynccontextmanager
async def followed(source: HubSource, taken: Taken, max_batch: int = 10) -> AsyncIterator[asyncio.Task[None]]:
    async def follow() -> None:
        await source.follow("0", GROUP, max_batch, taken.take)

    task = asyncio.create_task(follow())
    yield task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def saved(checkpoints: Checkpoints, sequence: int) -> None:
    async with asyncio.timeout(SECONDS):
        while checkpoints.read(GROUP, "0") != sequence:
            await asyncio.sleep(0.01)


async def test_batches_and_checkpoints(stand_in: StandIn, source: HubSource, tmp_path: Path) -> None:
    """Batches come in order and bounded, with key and number; the checkpoint follows, and the next begins behind it."""
    assert await source.partitions() == ["0"]
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    await publish(stand_in, *(b"%d" % number for number in range(25)))
    first = Taken()
    async with followed(source, first):
        await first.until(b"24")
        await saved(checkpoints, 24)
    events = [event for batch in first.batches for event in batch]
    assert [event.body for event in events] == [b"%d" % number for number in range(25)]
    assert [event.sequence for event in events] == list(range(25))
    assert {event.key for event in events} == {"service-desk"}
    assert all(event.enqueued_at.utcoffset() is not None for event in events)
    assert max(len(batch) for batch in first.batches) <= 10
    await publish(stand_in, b"25")
    second = Taken()
    async with followed(source, second):
        await second.until(b"25")
    assert [[event.body for event in batch] for batch in second.batches] == [[b"25"]]


async def test_failure_ends_the_following(stand_in: StandIn, source: HubSource, tmp_path: Path) -> None:
    """A batch that is not taken moves no checkpoint: the error surfaces, and the batch comes again."""
    await publish(stand_in, b"bad")
    taken = Taken(b"bad")
    async with followed(source, taken) as task:
        with pytest.raises(KeyError):
            await asyncio.wait_for(asyncio.shield(task), SECONDS)
    assert Checkpoints(tmp_path / "checkpoints").read(GROUP, "0") == -1
    async with followed(source, taken):
        await saved(Checkpoints(tmp_path / "checkpoints"), 0)
    assert len(taken.batches) == 2


def annotated(key: bytes) -> bytes:
    return described(MESSAGE_ANNOTATIONS, map_of({symbol("x-opt-partition-key"): key}))


ODD = {
    "data that is none": (described(DATA, NULL), b"None"),
    "data that is a number": (described(DATA, ulong(7)), b"7"),
    "data in two sections": (event_of(b"a") + event_of(b"b"), b"ab"),
    "a value": (described(VALUE, ulong(7)), b"7"),
    "sequences": (described(SEQUENCE, list_of([ulong(1)])) + described(SEQUENCE, list_of([])), b"[1][]"),
    "no body": (described(PROPERTIES, list_of([])), b"None"),
    "a key that is a number": (annotated(ulong(7)) + event_of(b"c"), b"c"),
    "a key that is a list": (annotated(list_of([])) + event_of(b"d"), b"d"),
    "a key that is no text": (annotated(binary(b"\xff")) + event_of(b"e"), b"e"),
}


async def test_events_of_odd_producers(stand_in: StandIn, source: HubSource) -> None:
    """Whatever a producer makes an event of, it is handed over and the partition goes on."""
    async with connected(stand_in.port) as peer:
        peer.open().begin().attach(0, receives=False, address="usage")
        for number, (message, _) in enumerate(ODD.values()):
            peer.transfer(0, message, delivery=number)
            await peer.read_until(DISPOSITION)
    taken = Taken()
    async with followed(source, taken, max_batch=1):
        await taken.until(b"e")
    events = [event for batch in taken.batches for event in batch]
    assert [event.body for event in events] == [body for _, body in ODD.values()]
    assert [event.key for event in events][-3:] == ["7", "[]", "\N{REPLACEMENT CHARACTER}"]


async def test_cut_connection_ends_the_following(stand_in: StandIn, source: HubSource) -> None:
    """Whoever follows is told by StreamUnavailable that the hub is gone, instead of waiting for good."""
    await publish(stand_in, b"one")
    taken = Taken()
    async with followed(source, taken) as task:
        await taken.until(b"one")
        stand_in.cut_all()
        with pytest.raises(StreamUnavailable):
            await asyncio.wait_for(asyncio.shield(task), SECONDS)


async def test_hub_out_of_reach(stand_in: StandIn, source: HubSource, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking a silent hub for its partitions ends in time."""
    monkeypatch.setattr("local.events.hub_source._ASK_SECONDS", 0.5)
    stand_in.broker.trouble.change(Faults(silent=True))
    with pytest.raises(StreamUnavailable):
        await source.partitions()
    stand_in.broker.trouble.change(NO_FAULTS)


def test_checkpoints_of_groups_and_partitions(tmp_path: Path) -> None:
    """Each group and partition has a checkpoint of its own, whatever it is called; the last one saved holds."""
    checkpoints = Checkpoints(tmp_path)
    names = [("$Default", "0"), ("$Default", "1"), ("../etc", "0"), ("a/b", "0")]
    for number, (group, partition) in enumerate(names):
        assert checkpoints.read(group, partition) == -1
        checkpoints.save(group, partition, 99)
        checkpoints.save(group, partition, number)
    assert [Checkpoints(tmp_path).read(*name) for name in names] == [0, 1, 2, 3]
    assert {path.parent for path in tmp_path.rglob("*") if path.is_file()} <= set(tmp_path.iterdir())
