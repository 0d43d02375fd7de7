"""`$management` and `$cbs` by hand: what the SDKs never ask."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from local.eventhubs import errors
from local.eventhubs.decoding import decode
from local.eventhubs.encoding import NULL, described, list_of, map_of, string
from local.eventhubs.messages import APPLICATION_PROPERTIES, PROPERTIES, VALUE, sections
from local.eventhubs.performatives import CLOSE, DETACH, OPEN, TRANSFER
from local.eventhubs.server import StandIn, serve
from tests.local.eventhubs.peer import Peer, connected, event_of


@pytest.fixture
async def open_stand_in(tmp_path: Path) -> AsyncIterator[StandIn]:
    """A stand-in that asks for no token."""
    async with serve(tmp_path, {"usage": 2}, key=None) as opened:
        yield opened


def request(reply_to: str = "", **properties: str) -> bytes:
    to = string(reply_to) if reply_to else NULL
    fields = list_of([string("id-1"), NULL, NULL, NULL, to])
    asked = map_of({string(name): string(value) for name, value in properties.items()})
    return described(PROPERTIES, fields) + described(APPLICATION_PROPERTIES, asked)


async def answer_to(peer: Peer, message: bytes, delivery: int) -> tuple[int, Any]:
    """Return the status and the body of the next answer."""
    peer.transfer(0, message, delivery=delivery)
    while True:
        _, code, _, payload = await peer.read()
        if code == TRANSFER:
            parts = {part.code: decode(payload, part.value_at)[0] for part in sections(payload)}
            assert parts[PROPERTIES][5] == "id-1"
            return parts[APPLICATION_PROPERTIES]["status-code"], parts[VALUE]


async def test_management(open_stand_in: StandIn) -> None:
    """Hubs and partitions are read; other operations, types and names are refused by a status of their own."""
    hub, partition = "com.microsoft:eventhub", "com.microsoft:partition"
    async with connected(open_stand_in.port) as peer:
        peer.open().begin().attach(0, receives=False, address="usage/$management")
        peer.attach(1, receives=True, address="$management").flow(1, 100)
        asked = [
            ({"operation": "READ", "name": "USAGE", "type": hub}, 200),
            ({"operation": "READ", "name": "usage", "type": partition, "partition": "1"}, 200),
            ({"operation": "READ", "name": "usage", "type": partition, "partition": "2"}, 404),
            ({"operation": "READ", "name": "usage", "type": partition}, 400),
            ({"operation": "READ", "name": "usage", "type": "com.microsoft:other"}, 400),
            ({"operation": "READ", "name": "nothing", "type": hub}, 404),
            ({"operation": "WRITE", "name": "usage", "type": hub}, 501),
            ({}, 501),
        ]
        found = [await answer_to(peer, request(**each), number) for number, (each, _) in enumerate(asked)]
        assert [status for status, _ in found] == [status for _, status in asked]
        assert found[0][1]["partition_ids"] == ["0", "1"]
        assert found[1][1]["is_partition_empty"] is True


async def test_answer_that_nobody_reads(open_stand_in: StandIn) -> None:
    """A request without a link for its answer is accepted; so many unread answers end the link that asks."""
    async with connected(open_stand_in.port) as peer:
        peer.open().begin().attach(0, receives=False, address="$cbs")
        peer.transfer(0, request()).attach(1, receives=True, address="$cbs")
        for number in range(1, 105):
            peer.transfer(0, request("here"), delivery=number)
        handle, _, reason = await peer.read_until(DETACH)
        assert (handle, reason.value[0]) == (0, errors.NOT_ALLOWED)


async def test_performatives_out_of_place(open_stand_in: StandIn) -> None:
    """A transfer on a link that receives detaches it; frames without a session and a second open end everything."""
    async with connected(open_stand_in.port) as peer:
        peer.open().begin().attach(0, receives=True, address="usage/ConsumerGroups/g/Partitions/0")
        assert (await peer.transfer(0, event_of(b"x")).read_until(DETACH))[2].value[0] == errors.NOT_ALLOWED
        peer.performative(DETACH, string("no handle"), channel=7)
        assert (await peer.read_until(CLOSE))[0].value[0] == errors.DECODE
    async with connected(open_stand_in.port) as peer:
        await peer.open().read_until(OPEN)
        peer.transfer(0, event_of(b"x"))
        assert (await peer.read_until(CLOSE))[0].value[0] == errors.NOT_ALLOWED
    async with connected(open_stand_in.port) as peer:
        peer.open().begin().performative(OPEN, string("again"))
        assert (await peer.read_until(CLOSE))[0].value[0] == errors.NOT_ALLOWED
