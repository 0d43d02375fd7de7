"""One request and its answer on the wire, down to the transport: faults need what ASGI hides."""

import asyncio
import socket
import struct
from collections.abc import Mapping, Sequence
from email.utils import formatdate
from functools import lru_cache
from typing import cast
from urllib.parse import parse_qsl

from uvicorn._types import (  # uvicorn has no public names for the ASGI types it is written against
    ASGIReceiveCallable,
    ASGISendCallable,
    HTTPRequestEvent,
    HTTPScope,
)
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from local.simulator import errors
from seams.clock import Clock

TRANSPORT = "local.simulator.transport"
MAX_BODY_BYTES = 128 * 1024 * 1024
FLUSH_SECONDS = 5.0

Headers = Sequence[tuple[bytes, bytes]]


class CallerLeft(Exception):
    """The caller closed its connection."""


class TransportProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which lets the application at the connection through the scope's extensions."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {TRANSPORT: cast("dict[object, object]", self.transport)}


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()


class Exchange:
    """A request that is being answered."""

    def __init__(self, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable, clock: Clock) -> None:
        self._clock = clock
        self.method = scope["method"]
        self.path = scope["path"]
        self.query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        self.headers: Headers = tuple(scope["headers"])
        self.status = 0
        self._transport = cast("asyncio.Transport", (scope.get("extensions") or {})[TRANSPORT])
        self._receive = receive
        self._send = send

    def header(self, name: bytes) -> str:
        """Return the header's value, empty where there is none; `name` in lower case."""
        return next((value.decode("latin-1") for key, value in self.headers if key == name), "")

    @property
    def gone(self) -> bool:
        """Whether the connection is closed or closing."""
        return self._transport.is_closing()

    async def body(self) -> bytes:
        """Read the whole body. Raises CallerLeft, and AzureError, 413, above MAX_BODY_BYTES."""
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise CallerLeft
            request = cast("HTTPRequestEvent", message)
            chunk = request["body"]
            parts.append(chunk)
            size += len(chunk)
            if size > MAX_BODY_BYTES:
                raise errors.invalid_request("The request body is too large.", status=413)
            if not request["more_body"]:
                return b"".join(parts)

    async def answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        """Send a whole answer."""
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await self.start(status, [*raw, (b"content-length", b"%d" % len(body))])
        await self.write(body, more=False)

    async def start(self, status: int, headers: Headers) -> None:
        """Send the status line and headers."""
        self.status = status
        dated = [*headers, (b"date", _date(int(self._clock.now().timestamp())))]
        await self._send({"type": "http.response.start", "status": status, "headers": dated, "trailers": False})

    async def write(self, data: bytes, *, more: bool) -> None:
        """Hand bytes of the body to the connection; waits while the caller does not read. Raises CallerLeft."""
        if self.gone:
            raise CallerLeft
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def wait(self, seconds: float | None) -> None:
        """Let time pass, for good where `seconds` is None. Raises CallerLeft as soon as the caller leaves."""
        try:
            async with asyncio.timeout(seconds):
                while (await self._receive())["type"] != "http.disconnect":
                    pass
        except TimeoutError:
            return
        raise CallerLeft

    async def hang_up(self) -> None:
        """Close the connection in the middle of what it is at: everything written is flushed, then FIN."""
        self._transport.close()
        await self._closed()

    async def reset(self) -> None:
        """Reset the connection (RST), after everything written has left."""
        await self._flushed()
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()
        await self._closed()

    async def raw(self, data: bytes) -> None:
        """Write bytes past HTTP, and close."""
        self._transport.write(data)
        await self.hang_up()

    async def _flushed(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + FLUSH_SECONDS
        # No event tells that a transport's buffer is empty.
        while self._transport.get_write_buffer_size() and not self.gone and loop.time() < deadline:  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.001)

    async def _closed(self) -> None:
        try:
            await self.wait(FLUSH_SECONDS)
        except CallerLeft:
            return
        self._transport.abort()
