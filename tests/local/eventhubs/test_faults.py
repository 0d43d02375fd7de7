"""Faults on request: what the SDK sees of them, and how they are set while it runs."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hosting.eventhubs.events import EventHubStream
from local.child import ROOT, Child
from local.eventhubs.faults import NO_FAULTS, Faults
from local.eventhubs.server import StandIn, connection_string
from seams.clock import SystemClock
from seams.events import StreamUnavailable

SECONDS = 20.0


def stream_at(text: str, timeout: float = SECONDS) -> EventHubStream:
    return EventHubStream.by_connection_string(text, "usage", timeout_seconds=timeout, clock=SystemClock())


@pytest.fixture
async def stream(stand_in: StandIn) -> AsyncIterator[EventHubStream]:
    opened = stream_at(stand_in.connection_string)
    yield opened
    await opened.close()


async def asked(port: int, method: str, path: str, body: str = "") -> tuple[int, Any]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    async with asyncio.timeout(SECONDS):
        head, _, answer = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return int(head.split()[1]), json.loads(answer)


async def test_dropped_acknowledgement(stand_in: StandIn, stream: EventHubStream) -> None:
    """An event whose acknowledgement is dropped is kept, and kept again when the publisher tries once more."""
    stand_in.broker.trouble.change(Faults(drop_acks=1))
    publishing = asyncio.create_task(stream.publish([b"once"], "key"))
    async with asyncio.timeout(SECONDS):
        while not stand_in.broker.counts.acks_dropped:
            await asyncio.sleep(0.01)
    stand_in.broker.trouble.change(NO_FAULTS)
    await publishing
    assert sum((await stream.ends()).values()) == stand_in.broker.counts.events_in - 4
    assert stand_in.broker.counts.events_in == stand_in.broker.counts.acks_dropped + 1


async def test_busy(stand_in: StandIn, stream: EventHubStream) -> None:
    """A throttled batch is not kept; the publisher waits and tries again."""
    stand_in.broker.trouble.change(Faults(busy=1))
    publishing = asyncio.create_task(stream.publish([b"once"], "key"))
    async with asyncio.timeout(SECONDS):
        while not stand_in.broker.counts.busy_answers:
            await asyncio.sleep(0.01)
    stand_in.broker.trouble.change(NO_FAULTS)
    await publishing
    assert stand_in.broker.counts.events_in == 1


async def test_latency(stand_in: StandIn, stream: EventHubStream) -> None:
    """An acknowledgement comes as late as it was asked to."""
    await stream.publish([b"connects"], "key")
    stand_in.broker.trouble.change(Faults(latency_seconds=0.4))
    began = time.monotonic()
    await stream.publish([b"late"], "key")
    assert time.monotonic() - began >= 0.4


async def test_silence(stand_in: StandIn) -> None:
    """A silent hub keeps nothing and answers nothing until it speaks again."""
    hasty = stream_at(stand_in.connection_string, timeout=2)
    stand_in.broker.trouble.change(Faults(silent=True))
    with pytest.raises(StreamUnavailable):
        await hasty.publish([b"unheard"], "key")
    assert stand_in.broker.counts.events_in == 0
    stand_in.broker.trouble.change(NO_FAULTS)
    await hasty.publish([b"heard"], "key")
    await hasty.close()


async def test_control(stand_in: StandIn) -> None:
    """Faults are shown, set all anew and ended by HTTP on the same port; wrong ones and other paths are refused."""
    assert (await asked(stand_in.port, "PUT", "/faults", '{"busy": 0.5}'))[1]["busy"] == 0.5
    status, shown = await asked(stand_in.port, "POST", "/faults", '{"drop_acks": 0.25}')
    assert (status, shown["drop_acks"], shown["busy"]) == (200, 0.25, 0.0)
    assert (await asked(stand_in.port, "GET", "/faults"))[1] == shown
    for wrong in ('{"busy": 2}', '{"bussy": 1}', "{"):
        assert (await asked(stand_in.port, "PUT", "/faults", wrong))[0] == 400
    assert stand_in.broker.trouble.faults == Faults(drop_acks=0.25)
    assert (await asked(stand_in.port, "DELETE", "/faults"))[0] == 200
    assert stand_in.broker.trouble.faults == NO_FAULTS
    assert (await asked(stand_in.port, "GET", "/counts"))[1]["connections"] > 0
    assert (await asked(stand_in.port, "GET", "/nothing"))[0] == 404


async def test_death_and_return(tmp_path: Path) -> None:
    """A stand-in that dies of a batch has kept it; started again on its port it is the same hub, and goes on."""
    options = ("--folder", str(tmp_path), "--spare-partitions", "1")
    child = await Child.start("local.eventhubs", *options)
    port = child.ready["port"]
    stream = stream_at(connection_string(port))
    try:
        await stream.publish([b"first"], "key")
        before = await stream.incarnation()
        assert (await asked(port, "PUT", "/faults", '{"deaths": 1}'))[0] == 200
        publishing = asyncio.create_task(stream.publish([b"deadly"], "key"))
        async with asyncio.timeout(SECONDS):
            assert await child.process.wait() == -signal.SIGKILL
        child = await Child.start("local.eventhubs", *options, "--port", str(port))
        await publishing
        again = stream_at(connection_string(port))
        assert await again.incarnation() == before
        ends = await again.ends()
        await again.close()
        assert max(ends.values()) == 2
    finally:
        await stream.close()
        await child.end()


async def test_one_process_holds_a_folder(tmp_path: Path) -> None:
    """A second stand-in on the same folder does not start, and says why."""
    child = await Child.start("local.eventhubs", "--folder", str(tmp_path), "--spare-partitions", "1")
    try:
        second = await asyncio.create_subprocess_exec(
            *child.command, cwd=ROOT, stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
        _, said = await second.communicate()
    finally:
        await child.end()
    assert second.returncode == 1
    assert b"did not start: another one uses" in said
