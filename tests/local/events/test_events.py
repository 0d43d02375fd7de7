"""The stream in the state folder."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from local.events.event_log import RETENTION
from local.events.events import LocalStream, LocalStreams
from local.state import streams_of
from seams.events import StreamUnavailable
from tests.clocks import HandClock

ROOT = Path(__file__).parents[3]
NOON = datetime(2026, 5, 6, 12, 0, 0, 123456, UTC)


@pytest.fixture
async def stream(tmp_path: Path) -> AsyncIterator[LocalStream]:
    opened = LocalStream(tmp_path / "state" / "hub.sqlite", HandClock(NOON))
    yield opened
    await opened.close()


async def everything(stream: LocalStream) -> dict[str, list[bytes]]:
    return {
        partition: [event.body for event in await stream.read(partition, -1, 1_000_000)]
        for partition in stream.partitions
    }


async def test_a_key_keeps_its_order_in_one_partition(stream: LocalStream) -> None:
    """All events of a key lie in one partition, in the order of publishing, numbered from 0 without gaps."""
    for number in range(20):
        await stream.publish([b"%d-a" % number, b"%d-b" % number], "service-desk")
    used = [partition for partition, bodies in (await everything(stream)).items() if bodies]
    assert len(used) == 1
    events = await stream.read(used[0], -1, 100)
    assert [event.sequence for event in events] == list(range(40))
    assert events[3].body == b"1-b"
    assert (events[0].key, events[0].enqueued_at) == ("service-desk", NOON)


async def test_keys_spread_over_partitions(stream: LocalStream) -> None:
    """Many keys use all partitions, and the choice is the same in every process."""
    for number in range(40):
        await stream.publish([b"x"], f"subscription-{number}")
    assert all((await everything(stream)).values())
    await stream.publish([b"marked"], "service-desk")
    assert [partition for partition, bodies in (await everything(stream)).items() if b"marked" in bodies] == ["1"]


async def test_concurrent_publishers_share_commits(stream: LocalStream) -> None:
    """A thousand publishers at once lose nothing and do not wait for a commit each."""
    began = time.monotonic()
    await asyncio.gather(*(stream.publish([b"%d" % number], f"key-{number}") for number in range(1000)))
    took = time.monotonic() - began
    stored = [body for bodies in (await everything(stream)).values() for body in bodies]
    assert sorted(stored) == sorted(b"%d" % number for number in range(1000))
    assert took < 2


async def test_events_soon_after_a_commit_share_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A first event is committed at once; those that follow it one by one wait a moment for each other."""
    monkeypatch.setattr("local.events.events.COMMIT_SECONDS", 0.5)
    stream = LocalStream(tmp_path / "hub.sqlite")
    await stream.publish([b"first"], "service-desk")
    publishing = []
    for _ in range(20):
        publishing.append(asyncio.create_task(stream.publish([b"later"], "service-desk")))
        await asyncio.sleep(0)
    await asyncio.gather(*publishing)
    commits = [event.enqueued_at for event in await stream.read("1", -1, 100)]
    assert commits == [commits[0]] + [commits[1]] * 20
    assert commits[0] < commits[1]
    await stream.close()


async def test_reads_in_bounded_batches(stream: LocalStream) -> None:
    """A read returns at most what was asked for, from behind a position."""
    await stream.publish([b"%d" % number for number in range(10)], "service-desk")
    assert [event.body for event in await stream.read("1", 3, 2)] == [b"4", b"5"]


async def test_waiting_reader_wakes_at_once(stream: LocalStream) -> None:
    """What this process publishes wakes a waiting reader without a poll."""
    reading = asyncio.create_task(stream.next_events("1", -1, 10))
    await stream.read("1", -1, 1)
    began = time.monotonic()
    await stream.publish([b"now"], "service-desk")
    assert [event.body for event in await reading] == [b"now"]
    assert time.monotonic() - began < 0.3


async def test_reader_sees_other_processes(stream: LocalStream, tmp_path: Path) -> None:
    """What another process writes into the file is found by a poll."""
    await stream.incarnation()
    reading = asyncio.create_task(stream.next_events("1", -1, 10))
    rival = LocalStream(tmp_path / "state" / "hub.sqlite", HandClock(NOON))
    await rival.publish([b"from afar"], "service-desk")
    await rival.close()
    async with asyncio.timeout(30):
        assert [event.body for event in await reading] == [b"from afar"]


async def test_rival_writers_keep_numbers_apart(stream: LocalStream, tmp_path: Path) -> None:
    """Two processes that write at once never give one number twice."""
    rival = LocalStream(tmp_path / "state" / "hub.sqlite", HandClock(NOON))
    await asyncio.gather(
        *(writer.publish([b"x"], "service-desk") for _ in range(50) for writer in (stream, rival)),
    )
    await rival.close()
    assert [event.sequence for event in await stream.read("1", -1, 1000)] == list(range(100))


async def test_checkpoints_survive_and_never_go_back(stream: LocalStream, tmp_path: Path) -> None:
    """Each consumer group has its own checkpoint per partition; an older one does not undo a newer one."""
    assert await stream.checkpoint("$Default", "1") == -1
    await stream.save_checkpoint("$Default", "1", 7)
    await stream.save_checkpoint("$Default", "1", 5)
    again = LocalStream(tmp_path / "state" / "hub.sqlite")
    assert await again.checkpoint("$Default", "1") == 7
    assert await again.checkpoint("other", "1") == -1
    await again.close()


async def test_incarnation_is_made_with_the_file(stream: LocalStream, tmp_path: Path) -> None:
    """The same file is the same incarnation; a file of the same name made anew is another."""
    first = await stream.incarnation()
    again = LocalStream(tmp_path / "state" / "hub.sqlite")
    assert await again.incarnation() == first
    await again.close()
    await stream.close()
    for file in (tmp_path / "state").iterdir():
        file.unlink()
    anew = LocalStream(tmp_path / "state" / "hub.sqlite")
    assert await anew.incarnation() != first
    await anew.close()


async def test_old_events_are_dropped_but_numbers_go_on(tmp_path: Path) -> None:
    """Events past their retention are gone when the file is opened next, and their numbers are not given again."""
    clock = HandClock(NOON)
    stream = LocalStream(tmp_path / "hub.sqlite", clock)
    await stream.publish([b"old"], "service-desk")
    await stream.close()
    clock.at = NOON + RETENTION + timedelta(seconds=1)
    stream = LocalStream(tmp_path / "hub.sqlite", clock)
    await stream.publish([b"new"], "service-desk")
    assert [(event.sequence, event.body) for event in await stream.read("1", -1, 10)] == [(1, b"new")]
    await stream.close()


async def test_unusable_file(tmp_path: Path) -> None:
    """A file that is no database is StreamUnavailable to publishers and readers, and names the file."""
    (tmp_path / "hub.sqlite").write_bytes(b"not a database, and long enough to be sure of it" * 100)
    stream = LocalStream(tmp_path / "hub.sqlite")
    with pytest.raises(StreamUnavailable, match=r"hub\.sqlite"):
        await stream.publish([b"x"], "key")
    with pytest.raises(StreamUnavailable):
        await stream.read("0", -1, 1)
    await stream.close()


async def test_backlog_is_bounded(stream: LocalStream) -> None:
    """More events than may wait are refused instead of kept in memory."""
    with pytest.raises(StreamUnavailable, match="too many"):
        await stream.publish([b"x"] * 20_001, "key")


async def test_cancelled_publisher_leaves_the_others_alone(stream: LocalStream) -> None:
    """A publisher who goes away does not disturb those whose events share its commit."""
    leaving = asyncio.create_task(stream.publish([b"a"], "service-desk"))
    staying = asyncio.create_task(stream.publish([b"b"], "service-desk"))
    await asyncio.sleep(0)
    leaving.cancel()
    await staying
    assert b"b" in [event.body for event in await stream.read("1", -1, 10)]


async def test_one_open_stream_per_hub(tmp_path: Path) -> None:
    """Whoever opens a hub of a folder in this process gets the same stream, and a new one once it was closed."""
    streams = LocalStreams(tmp_path)
    first = streams.stream("usage")
    assert streams.stream("usage") is first
    assert streams.stream("jobs") is not first
    await first.close()
    assert streams.stream("usage") is not first
    assert streams_of(tmp_path) is streams_of(tmp_path)


def test_acknowledged_events_survive_sigkill(tmp_path: Path) -> None:
    """Every event whose publish returned is there after the writer was killed without warning."""
    program = (
        "import asyncio, sys, pathlib\n"
        "from local.events.events import LocalStream\n"
        "async def main():\n"
        "    stream = LocalStream(pathlib.Path(sys.argv[1]))\n"
        "    for number in range(1_000_000):\n"
        "        await stream.publish([b'%d' % number], 'service-desk')\n"
        "        print(number, flush=True)\n"
        "asyncio.run(main())\n"
    )
    writer = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-c", program, str(tmp_path / "hub.sqlite")],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    with writer:
        assert writer.stdout is not None
        for _ in range(50):
            writer.stdout.readline()
        os.kill(writer.pid, signal.SIGKILL)
        acknowledged = 50 + len(writer.stdout.read().splitlines())

    async def stored() -> list[bytes]:
        stream = LocalStream(tmp_path / "hub.sqlite")
        bodies = [event.body for event in await stream.read("1", -1, 1_000_000)]
        await stream.close()
        return bodies

    bodies = asyncio.run(stored())
    assert len(bodies) in {acknowledged, acknowledged + 1}
    assert bodies == [b"%d" % number for number in range(len(bodies))]
