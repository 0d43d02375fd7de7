"""Peers that break the protocol, flood or fall silent: they lose their connection, and nobody else notices."""

import asyncio
import random
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hosting.eventhubs.events import EventHubStream
from local.eventhubs import connection, errors, links, server, wire
from local.eventhubs.encoding import NULL, described, list_of, string, uint
from local.eventhubs.frames import AMQP_HEADER, SASL_HEADER, frame
from local.eventhubs.performatives import ATTACH, CLOSE, DETACH, FLOW, OPEN, TRANSFER
from local.eventhubs.server import StandIn, serve
from seams.clock import SystemClock
from tests.local.eventhubs.peer import Peer, connected, event_of, selector


@pytest.fixture
async def open_stand_in(tmp_path: Path) -> AsyncIterator[StandIn]:
    """A stand-in that asks for no token."""
    async with serve(tmp_path, {"usage": 4}, key=None) as opened:
        yield opened


async def still_serves(stand_in: StandIn) -> None:
    stream = EventHubStream.by_connection_string(
        stand_in.connection_string, "usage", timeout_seconds=20, clock=SystemClock()
    )
    await stream.publish([b"{}"], "service-desk")
    await stream.close()


async def answers(stand_in: StandIn) -> None:
    async with connected(stand_in.port) as peer:
        await peer.open().read_until(OPEN)


@pytest.mark.parametrize(
    "said",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"AMQP\x00\x00\x09\x01",
        b"AMQP\x02\x01\x00\x00",
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST /faults HTTP/1.1\r\ncontent-length: 999999\r\n\r\n",
        b"GET /" + b"x" * 100_000,
        SASL_HEADER + frame(0, b"\x40", 1),
        SASL_HEADER + AMQP_HEADER,
        AMQP_HEADER + struct.pack(">IBBH", 2**31, 2, 0, 0),
        AMQP_HEADER + struct.pack(">IBBH", 8, 200, 0, 0),
        AMQP_HEADER + struct.pack(">IBBH", 4, 2, 0, 0),
        AMQP_HEADER + frame(0, b"\xff\xff"),
        AMQP_HEADER + frame(0, described(OPEN, list_of([uint(1)]))),
        AMQP_HEADER + frame(0, described(TRANSFER, list_of([uint(1)]))),
        AMQP_HEADER + frame(0, described(0x77, list_of([]))),
    ],
    ids=[
        *(
            "tls",
            "amqp 0.9",
            "amqp tls",
            "no such path",
            "large control",
            "endless head",
            "no sasl-init",
            "sasl header",
        ),
        *("huge frame", "late body", "short frame", "no value", "open of numbers", "no open", "unknown"),
    ],
)
async def test_nonsense_at_the_beginning(open_stand_in: StandIn, said: bytes) -> None:
    """Whatever a connection begins with that is no AMQP 1.0 ends it."""
    async with connected(open_stand_in.port) as peer:
        assert await peer.say(said).ended()
    await answers(open_stand_in)


async def test_random_bytes_in_a_session(open_stand_in: StandIn) -> None:
    """Frames of random bytes, and good frames with a byte changed, end a connection at worst."""
    dice = random.Random(7)
    good = described(ATTACH, list_of([string("n"), uint(1), NULL])), described(FLOW, list_of([uint(1)] * 9))
    for _ in range(60):
        async with connected(open_stand_in.port) as peer:
            peer.open().begin().attach(0, receives=False, address="usage")
            for _ in range(5):
                body = bytearray(dice.choice((*good, dice.randbytes(dice.randrange(60)))))
                if body:
                    body[dice.randrange(len(body))] = dice.randrange(256)
                peer.say(frame(dice.randrange(2), bytes(body)))
            peer.performative(CLOSE, NULL)
            assert await peer.ended()
    await still_serves(open_stand_in)


@pytest.mark.parametrize(
    "payload",
    [b"", b"\x40", b"\x00\x53\x75", b"\x00\x53\x20\x40", event_of(b"x") + b"\xff", b"\x00\x53\x72\xa1\x01x"],
    ids=["empty", "no section", "cut", "unknown section", "rest", "annotations that are text"],
)
@pytest.mark.parametrize("form", [0, 0x80013700])
async def test_messages_that_are_none(open_stand_in: StandIn, payload: bytes, form: int) -> None:
    """A message that cannot be read detaches its link, or is kept where it is merely empty; others go on."""
    async with connected(open_stand_in.port) as peer:
        peer.open().begin().attach(0, receives=False, address="usage").attach(1, receives=False, address="usage")
        peer.transfer(0, payload, form=form).transfer(1, event_of(b"good"), delivery=1)
        assert (await peer.read_until(0x15))[1] in (0, 1)


@pytest.mark.parametrize(
    "message",
    [
        b"\x00\x53\x77\xc0\x05\x02\xff\xff\xff\xff",
        b"\x00\x53\x77\xf0\x00\x00\x00\x05\x7f\xff\xff\xff\x40",
        b"\x00\x53\x77\xa1\x01\xff",
        b"\x00\x53\x77\xc0\x03\x01\x40\x40",
        b"\x00\x53\x73\x40" + event_of(b"x"),
    ],
    ids=["no values", "billions of items", "no UTF-8", "more than it says", "properties that are none"],
)
async def test_contents_that_no_receiver_could_read(open_stand_in: StandIn, message: bytes) -> None:
    """What would stop every receiver of its partition is refused where it comes in."""
    async with connected(open_stand_in.port) as peer:
        peer.open().begin().attach(0, receives=False, address="usage").transfer(0, message)
        handle, closed, reason = await peer.read_until(DETACH)
        assert (handle, closed, reason.value[0]) == (0, True, errors.DECODE)
    await still_serves(open_stand_in)


async def test_message_without_an_end(open_stand_in: StandIn) -> None:
    """A message that goes on past the limit detaches the link before it fills the memory; the session goes on."""
    async with connected(open_stand_in.port) as peer:
        peer.open().begin().attach(0, receives=False, address="usage")
        for _ in range(40):
            peer.transfer(0, b"x" * 60_000, more=True)
        handle, closed, reason = await peer.read_until(DETACH)
        assert (handle, closed, reason.value[0]) == (0, True, errors.TOO_LARGE)
        peer.attach(1, receives=False, address="usage").transfer(1, event_of(b"good"))
        await peer.read_until(0x15)


async def test_too_many_of_everything(open_stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions, links and connections beyond their bounds are refused."""
    async with connected(open_stand_in.port) as peer:
        peer.open()
        for channel in range(connection.MAX_SESSIONS + 1):
            peer.begin(channel)
        assert (await peer.read_until(CLOSE))[0].value[0] == errors.RESOURCE_LIMIT
    async with connected(open_stand_in.port) as peer:
        peer.open().begin()
        for handle in range(70):
            peer.attach(handle, receives=True, address="usage/ConsumerGroups/$Default/Partitions/0")
        assert (await peer.read_until(CLOSE))[0].value[0] == errors.RESOURCE_LIMIT
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 1)
    async with connected(open_stand_in.port) as first:
        await first.open().read_until(OPEN)
        async with connected(open_stand_in.port) as second:
            assert await second.open().ended()
    monkeypatch.undo()
    await still_serves(open_stand_in)


async def test_receiver_that_does_not_read(open_stand_in: StandIn) -> None:
    """A peer that asks for all and reads nothing holds up itself alone, and little of that is kept in memory."""
    async with connected(open_stand_in.port) as peer:
        peer.open().begin().attach(0, receives=False, address="usage/Partitions/0")
        for number in range(links.CREDIT):
            peer.transfer(0, event_of(b"x" * 60_000), delivery=number)
        for _ in range(links.CREDIT):
            await peer.read_until(0x15)
    async with connected(open_stand_in.port) as deaf:
        deaf.open().begin().attach(0, receives=True, address="usage/ConsumerGroups/g/Partitions/0").flow(0, 10_000)
        await still_serves(open_stand_in)
        assert open_stand_in.broker.counts.events_out < links.CREDIT


async def test_window_of_a_session(open_stand_in: StandIn) -> None:
    """No more frames are sent than the session's window lets in, also in the middle of a message."""
    async with connected(open_stand_in.port) as peer:
        peer.open(max_frame=512).begin(window=3).attach(0, receives=False, address="usage/Partitions/1")
        peer.transfer(0, event_of(b"x" * 3000))
        await peer.read_until(0x15)
        peer.attach(1, receives=True, address="usage/ConsumerGroups/g/Partitions/1").flow(1, 10, window=3)
        parts = [await next_transfer(peer) for _ in range(3)]
        assert all(fields[5] for fields, _ in parts)
        peer.flow(1, 10, window=100, received=3)
        while parts[-1][0][5]:
            parts.append(await next_transfer(peer))
        assert b"x" * 3000 in b"".join(payload for _, payload in parts)
        assert all(len(payload) <= 512 for _, payload in parts)


async def next_transfer(peer: Peer) -> tuple[list[object], bytes]:
    while True:
        _, code, fields, payload = await peer.read()
        if code == TRANSFER:
            return fields, payload


async def test_drain(open_stand_in: StandIn) -> None:
    """A receiver that drains an empty link is told at once that its credit is used up."""
    async with connected(open_stand_in.port) as peer:
        peer.open().begin().attach(0, receives=True, address="usage/ConsumerGroups/g/Partitions/2")
        fields = await peer.flow(0, 7, drain=True).read_until(FLOW)
        assert (fields[4], fields[5], fields[6]) == (0, 7, 0)


async def test_what_cannot_be_attached(open_stand_in: StandIn) -> None:
    """Selectors that cannot be read, receivers of a whole hub and senders to a consumer group are detached."""
    group = "usage/ConsumerGroups/$Default/Partitions/0"
    async with connected(open_stand_in.port) as peer:
        peer.open().begin()
        peer.attach(0, receives=True, address=group, fields=selector("amqp.annotation.x-opt-offset ~ 'x'"))
        assert (await peer.read_until(DETACH))[2].value[0] == errors.ARGUMENT
        peer.attach(1, receives=True, address="usage")
        assert (await peer.read_until(DETACH))[2].value[0] == errors.NOT_FOUND
        peer.attach(2, receives=False, address=group)
        assert (await peer.read_until(DETACH))[2].value[0] == errors.NOT_ALLOWED
        peer.attach(3, receives=False, address="")
        assert (await peer.read_until(DETACH))[2].value[0] == errors.NOT_FOUND


async def test_token_is_asked_for(stand_in: StandIn) -> None:
    """Without a token put to $cbs nothing of a hub can be attached."""
    async with connected(stand_in.port) as peer:
        peer.open().begin().attach(0, receives=False, address="usage")
        assert (await peer.read_until(DETACH))[2].value[0] == errors.UNAUTHORIZED


async def test_heartbeats_and_silence(open_stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer gets an empty frame in each half of the time that it waits; one that says nothing is let go."""
    monkeypatch.setattr(wire, "IDLE_SECONDS", 0.6)
    async with connected(open_stand_in.port) as peer:
        await peer.open(idle=uint(400)).read_until(OPEN)
        async with asyncio.timeout(10):
            assert await peer.reader.readexactly(8) == frame(0, b"")
        assert await peer.ended()
