"""A peer that says exactly what a test tells it to."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

from local.eventhubs.decoding import decode
from local.eventhubs.encoding import NULL, binary, boolean, described, list_of, map_of, string, ubyte, uint, ushort
from local.eventhubs.frames import AMQP_HEADER, HEAD_BYTES, frame, head_of
from local.eventhubs.performatives import ATTACH, BEGIN, FLOW, OPEN, TRANSFER

SECONDS = 20.0


class Peer:
    """One connection. Frames are read as (channel, descriptor, fields, payload)."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def say(self, *raw: bytes) -> Self:
        self.writer.write(b"".join(raw))
        return self

    def performative(self, code: int, *fields: bytes, channel: int = 0, payload: bytes = b"") -> Self:
        return self.say(frame(channel, described(code, list_of(fields)) + payload))

    def open(self, max_frame: int = 65536, idle: bytes = NULL) -> Self:
        self.say(AMQP_HEADER)
        return self.performative(OPEN, string("peer"), NULL, uint(max_frame), ushort(10), idle)

    def begin(self, channel: int = 0, window: int = 2**31 - 1) -> Self:
        return self.performative(BEGIN, NULL, uint(0), uint(window), uint(100), channel=channel)

    def attach(self, handle: int, *, receives: bool, address: str, fields: tuple[bytes, ...] = ()) -> Self:
        source = described(0x28, list_of([string(address if receives else "here"), *fields]))
        target = described(0x29, list_of([string("here" if receives else address)]))
        ends = (string(f"link-{handle}"), uint(handle), boolean(receives), ubyte(0), ubyte(0), source, target)
        return self.performative(ATTACH, *ends)

    def flow(
        self, handle: int, credit: int, *, window: int = 2**31 - 1, received: int = 0, drain: bool = False
    ) -> Self:
        session = (uint(received), uint(window), uint(0), uint(100))
        return self.performative(FLOW, *session, uint(handle), uint(0), uint(credit), NULL, boolean(drain))

    def transfer(self, handle: int, payload: bytes, *, more: bool = False, delivery: int = 0, form: int = 0) -> Self:
        fields = (uint(handle), uint(delivery), binary(b"t"), uint(form), boolean(False), boolean(more))
        return self.performative(TRANSFER, *fields, payload=payload)

    async def read(self) -> tuple[int, int, list[Any], bytes]:
        """Return the next frame, past the protocol header and heartbeats."""
        async with asyncio.timeout(SECONDS):
            while True:
                raw = await self.reader.readexactly(HEAD_BYTES)
                if raw == AMQP_HEADER:
                    continue
                head = head_of(raw)
                body = (await self.reader.readexactly(head.size - HEAD_BYTES))[head.body_at - HEAD_BYTES :]
                if body:
                    value, end = decode(body)
                    return head.channel, value.descriptor, value.value, body[end:]

    async def read_until(self, code: int) -> list[Any]:
        """Return the fields of the next performative of this kind."""
        while True:
            _, found, fields, _ = await self.read()
            if found == code:
                return fields

    async def ended(self) -> bool:
        """Tell whether the other side closes the connection in time."""
        try:
            async with asyncio.timeout(SECONDS):
                while await self.reader.read(65536):
                    pass
        except ConnectionError:
            pass
        except TimeoutError:
            return False
        return True


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Peer]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Peer(reader, writer)
    finally:
        writer.transport.abort()


def event_of(body: bytes) -> bytes:
    return described(0x75, binary(body))


def selector(text: str) -> tuple[bytes, ...]:
    """Return the fields behind a source's address that hold a filter."""
    filters = map_of({string("apache.org:selector-filter:string"): string(text)})
    return (*[NULL] * 6, filters)
