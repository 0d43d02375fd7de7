"""What every EventStream keeps, whatever it is made of: seams.events says it, these tests hold it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hosting.eventhubs.events import EventHubStream
from local.eventhubs.server import serve
from local.events.events import LocalStream
from seams.clock import SystemClock
from seams.events import EventStream, StreamUnavailable

type Opened = AsyncIterator[EventStream]


@asynccontextmanager
async def local(folder: Path) -> Opened:
    stream = LocalStream(folder / "hub.sqlite")
    yield stream
    await stream.close()


@asynccontextmanager
async def event_hub(folder: Path) -> Opened:
    """The real SDK, against the stand-in for Event Hubs."""
    async with serve(folder, {"usage": 4}) as stand_in:
        stream = EventHubStream.by_connection_string(
            stand_in.connection_string, "usage", timeout_seconds=20, clock=SystemClock()
        )
        yield stream
        await stream.close()


@pytest.fixture(params=[local, event_hub])
async def stream(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    """One open stream of each make."""
    async with request.param(tmp_path) as opened:
        yield opened


async def test_publishes(stream: EventStream) -> None:
    """Events of any bytes are taken, none at all is fine too."""
    await stream.publish([b"", b"\x00\xff", b"{}"], "key")
    await stream.publish([], "key")


async def test_refuses_what_is_too_large(stream: EventStream) -> None:
    """An event over 1 MB is a ValueError, and the stream goes on."""
    with pytest.raises(ValueError, match="holds at most"):
        await stream.publish([b"x" * (1024 * 1024 + 1)], "key")
    await stream.publish([b"x"], "key")


async def test_incarnation_is_stable(stream: EventStream) -> None:
    """A stream is the same one before and after events."""
    before = await stream.incarnation()
    await stream.publish([b"x"], "key")
    assert before
    assert await stream.incarnation() == before


async def test_ends_follow_what_is_appended(stream: EventStream) -> None:
    """Every partition is named, with -1 before its first event; each event moves one of them by one."""
    before = dict(await stream.ends())
    assert set(before.values()) == {-1}

    await stream.publish([b"a", b"b", b"c"], "key")

    after = dict(await stream.ends())
    assert sorted(before) == sorted(after) == ["0", "1", "2", "3"]
    assert sorted(after.values()) == [-1, -1, -1, 2]
    await stream.publish([b"d"], "key")
    assert sum((await stream.ends()).values()) == sum(after.values()) + 1


async def test_closed_stream_takes_nothing(stream: EventStream) -> None:
    """After close, which may be called twice, publishing says that the stream is out of reach."""
    await stream.close()
    await stream.close()
    with pytest.raises(StreamUnavailable):
        await stream.publish([b"x"], "key")
    with pytest.raises(StreamUnavailable):
        await stream.ends()
