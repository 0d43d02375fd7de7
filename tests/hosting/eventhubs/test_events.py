"""The event stream on Event Hubs against real TCP peers that misbehave; tests/contracts has the stand-in."""

import asyncio
import gc
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.eventhub import EventDataBatch
from azure.eventhub._pyamqp._decode import decode_payload
from azure.eventhub.aio import EventHubProducerClient, EventHubSharedKeyCredential
from azure.eventhub.exceptions import AuthenticationError, EventDataSendError, EventHubError

from hosting.eventhubs import events
from hosting.eventhubs.events import EventHubStream
from hosting.eventhubs.hub_connection import IDLE_SECONDS, HubConnection
from hosting.identity import credential
from local.eventhubs.server import serve
from seams.clock import SystemClock
from seams.events import StreamUnavailable
from seams.tables import check_key

TIMEOUT = 1.0

type Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class HandClock(SystemClock):
    """Monotonic seconds that a test sets."""

    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


def stream_at(port: int) -> EventHubStream:
    return EventHubStream.by_connection_string(
        f"Endpoint=sb://127.0.0.1:{port};SharedAccessKeyName=n;SharedAccessKey=c2VjcmV0;UseDevelopmentEmulator=true",
        "usage",
        timeout_seconds=TIMEOUT,
        clock=SystemClock(),
    )


async def say_nothing(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def close_at_once(*_: object) -> None:
    return


async def talk_nonsense(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 3)


async def fall_silent_after_the_header(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.readexactly(8))
    await reader.read()


@asynccontextmanager
async def peer(answer: Answer) -> AsyncIterator[tuple[int, set[asyncio.StreamWriter]]]:
    """Serve on a free port of loopback; yields the port and the connections that are open."""
    opened: set[asyncio.StreamWriter] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.add(writer)
        try:
            await answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            opened.discard(writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], opened
    finally:
        server.close()
        for writer in list(opened):
            writer.transport.abort()
        await server.wait_closed()


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not reached():
            await asyncio.sleep(0.01)


async def refused(call: Awaitable[object]) -> float:
    """Return the seconds until the call ended in StreamUnavailable."""
    started = time.monotonic()
    with pytest.raises(StreamUnavailable):
        await call
    return time.monotonic() - started


@pytest.mark.parametrize("answer", [say_nothing, close_at_once, talk_nonsense, fall_silent_after_the_header])
async def test_bad_peer(answer: Answer) -> None:
    """A peer that is silent, hangs up or talks nonsense is StreamUnavailable in time, and no task or socket stays."""
    before = asyncio.all_tasks()
    async with peer(answer) as (port, opened):
        stream = stream_at(port)
        assert await refused(stream.publish([b"event"], "service-desk")) < TIMEOUT + 0.5
        assert await refused(stream.incarnation()) < TIMEOUT + 0.5
        assert await refused(stream.ends()) < TIMEOUT + 0.5
        await stream.close()
        await until(lambda: not opened)
    assert asyncio.all_tasks() == before
    gc.collect()


async def test_refused_port() -> None:
    """A port where nobody listens is StreamUnavailable in time, and the message names the hub and the cause."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound, but not listening: nobody else can take the port meanwhile
        stream = stream_at(held.getsockname()[1])
        with pytest.raises(StreamUnavailable, match=r"event hub usage: cannot publish: ConnectError: .*Connect call"):
            await stream.publish([b"event"], "service-desk")
        await stream.close()


async def test_a_hub_of_many_partitions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time-out is for some questions at once, however many partitions are asked about."""
    monkeypatch.setattr(events, "_QUESTIONS_AT_ONCE", 1)
    async with serve(tmp_path, {"usage": 10}) as stand_in:
        stream = EventHubStream.by_connection_string(
            stand_in.connection_string, "usage", timeout_seconds=6 * TIMEOUT, clock=SystemClock()
        )
        assert await stream.ends() == {str(partition): -1 for partition in range(10)}
        await stream.close()


async def test_many_wait_no_longer_than_one() -> None:
    """Publishers that queue for a dead connection are refused within the same time as the first."""
    async with peer(say_nothing) as (port, _):
        stream = stream_at(port)
        seconds = await asyncio.gather(*(refused(stream.publish([b"event"], "one key")) for _ in range(20)))
        await stream.close()
    assert max(seconds) < TIMEOUT + 0.5


async def test_cancelled_publisher() -> None:
    """A caller that gives up in mid-handshake leaves no socket behind."""
    async with peer(say_nothing) as (port, opened):
        stream = stream_at(port)
        publisher = asyncio.create_task(stream.publish([b"event"], "service-desk"))
        await until(lambda: bool(opened))
        publisher.cancel()
        await asyncio.wait([publisher])
        await until(lambda: not opened)
        await stream.close()


async def test_closed_stream() -> None:
    """After close nothing connects any more, and closing twice is fine."""
    async with peer(say_nothing) as (port, opened):
        stream = stream_at(port)
        await stream.close()
        await stream.close()
        assert await refused(stream.publish([b"event"], "service-desk")) < 0.1
        assert not opened


async def test_nothing_to_publish() -> None:
    """Publishing no events needs no server."""
    stream = stream_at(9)
    await stream.publish([], "service-desk")
    await stream.close()


async def test_large_event() -> None:
    """An event over 1 MB is the caller's mistake, told before anything is sent."""
    stream = stream_at(9)
    with pytest.raises(ValueError, match="at most 1000000 bytes"):
        await stream.publish([b"small", bytes(1_000_001)], "service-desk")
    await stream.close()


def test_malformed_connection_string() -> None:
    """A connection string that the SDK cannot read stops the start."""
    with pytest.raises(ValueError):
        EventHubStream.by_connection_string("Endpoint=sb://127.0.0.1", "usage", timeout_seconds=1, clock=SystemClock())


def _body(encoded: bytes) -> bytes:
    (body,) = decode_payload(memoryview(encoded))[5] or ()
    assert isinstance(body, bytes)
    return body


class ScriptedClient(EventHubProducerClient):
    """The SDK's client with the wire cut off: `answers` says what each send meets, `sent` what was acknowledged."""

    def __init__(self, script: "Script") -> None:
        super().__init__("nowhere.invalid", "usage", EventHubSharedKeyCredential("name", "c2VjcmV0"))
        self.script = script
        self.answers = script.answers
        self.sent = script.sent

    async def create_batch(self, **options: str) -> EventDataBatch:  # type: ignore[override]  # fewer options are asked for
        return EventDataBatch(max_size_in_bytes=1000, partition_key=options["partition_key"])

    async def send_batch(self, batch: EventDataBatch) -> None:  # type: ignore[override]  # fewer options are used
        if self.answers:
            raise self.answers.pop(0)
        self.sent.append([_body(event) for event in batch._message[5]])

    async def get_eventhub_properties(self) -> dict[str, object]:
        return {"eventhub_name": "usage", "created_at": self.script.created_at}

    async def close(self, **_: object) -> None:
        raise ConnectionResetError


class Script:
    """Makes scripted clients and counts them."""

    def __init__(self, *answers: Exception) -> None:
        self.answers = list(answers)
        self.sent: list[list[bytes]] = []
        self.created_at = datetime(2026, 1, 2, microsecond=345000, tzinfo=UTC)
        self.opened = 0

    def open_client(self) -> EventHubProducerClient:
        self.opened += 1
        return ScriptedClient(self)

    def stream(self) -> EventHubStream:
        return EventHubStream(self.open_client, hub="usage", timeout_seconds=5, clock=SystemClock(), jitter=lambda: 0.0)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "PAUSES_SECONDS", (0.01, 0.01, 0.01))


async def test_split() -> None:
    """Events that exceed a batch go in several, in order."""
    script = Script()
    bodies = [bytes([n]) * 300 for n in range(5)]
    await script.stream().publish(bodies, "service-desk")
    assert script.sent == [bodies[:2], bodies[2:4], bodies[4:]]


async def test_event_over_the_hubs_own_limit() -> None:
    """An event that fits the seam but not this hub is a ValueError; those before it are kept."""
    script = Script()
    with pytest.raises(ValueError, match="an event of 2000 bytes"):
        await script.stream().publish([b"fits", bytes(2000)], "service-desk")
    assert script.sent == [[b"fits"]]


async def test_throttled() -> None:
    """A refused batch is sent again over the connection that refused it, and only what was not kept yet."""
    script = Script()
    stream = script.stream()
    await stream.publish([b"before"], "service-desk")
    script.answers[:] = [EventDataSendError("server-busy"), EventDataSendError("server-busy")]
    await stream.publish([b"event"], "service-desk")
    assert script.sent == [[b"before"], [b"event"]]
    assert script.opened == 1


async def test_lost_connection() -> None:
    """A connection that failed is replaced and the batch sent again."""
    script = Script(EventHubError("connection lost"))
    await script.stream().publish([b"event"], "service-desk")
    assert script.sent == [[b"event"]]
    assert script.opened == 2


async def test_attempts_are_bounded() -> None:
    """A hub that throttles on and on ends in StreamUnavailable after four attempts."""
    script = Script(*(EventDataSendError("server-busy") for _ in range(9)))
    await refused(script.stream().publish([b"event"], "service-desk"))
    assert len(script.answers) == 5


async def test_refused_identity() -> None:
    """A wrong key or a missing role is not tried again: it would fail the same way."""
    script = Script(AuthenticationError("no role"), EventHubError("unused"))
    await refused(script.stream().publish([b"event"], "service-desk"))
    assert len(script.answers) == 1


async def test_idle_connection_is_replaced() -> None:
    """A connection that was silent for a minute is not trusted with another batch."""
    script, clock = Script(), HandClock()
    connection = HubConnection(script.open_client, clock)
    for clock.seconds in (0.0, IDLE_SECONDS, 2 * IDLE_SECONDS + 1):
        async with connection.lend():
            pass
    await connection.close()
    assert script.opened == 2


async def test_incarnation() -> None:
    """The hub is told from a later one of its name by the millisecond of its creation, asked for each time."""
    script = Script()
    stream = script.stream()
    assert await stream.incarnation() == check_key("usage-1767312000345")
    script.created_at += timedelta(seconds=1)
    assert await stream.incarnation() == "usage-1767312001345"
    await stream.close()
    await refused(stream.incarnation())


async def test_impolite_end() -> None:
    """A connection that breaks while it is closed is closed all the same."""
    script = Script()
    stream = script.stream()
    await stream.publish([b"event"], "service-desk")
    await stream.close()
    await refused(stream.publish([b"event"], "service-desk"))


async def test_by_identity() -> None:
    """A namespace reached by identity goes by TLS to the service's own port, with the same time-outs."""
    async with credential("", on_azure=True) as identity:
        stream = EventHubStream.by_identity("127.0.0.1", identity, "usage", timeout_seconds=1, clock=SystemClock())
        assert await refused(stream.publish([b"event"], "service-desk")) < TIMEOUT + 0.5
        await stream.close()
