"""A connection to a backend: one exchange at a time, its answer read by httptools (llhttp)."""

import asyncio
from typing import Final, Protocol, cast

import httptools

from gateway.upstream.exchange import Exchange
from gateway.upstream.origin import Origin
from gateway.upstream.sending import write_whole
from gateway.upstream.upstream import Body, UpstreamUnreachable

MOST_HELD: Final = 65_536
"""Bytes of an answer that wait to be taken; beyond, the backend is read no further."""

MOST_OVERHEAD: Final = 65_536
"""Bytes in a row that are no answer's body: a head with those of interim answers, chunk extensions, a trailer."""


class Keeper(Protocol):
    """Whom a connection belongs to between its exchanges."""

    def free(self, connection: "Connection") -> None:
        """Take the connection for another exchange."""
        ...

    def gone(self, connection: "Connection") -> None: ...


class Connection(asyncio.Protocol):
    """Ready once `connection_made` was called; `idle_since` is the event loop's time."""

    __slots__ = (
        "_exchange",
        "_keeper",
        "_overhead",
        "_parser",
        "_paused",
        "_surplus",
        "_transport",
        "_unwritable",
        "_waiter",
        "idle_since",
        "origin",
    )

    def __init__(self, origin: Origin, keeper: Keeper) -> None:
        self.origin = origin
        self.idle_since = 0.0
        self._keeper = keeper
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._overhead = 0
        self._paused = self._surplus = self._unwritable = False
        self._waiter: asyncio.Future[None] | None = None

    @property
    def usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def begin(self, head: bytes, body: bytes | Body, *, head_only: bool) -> Exchange:
        """Send a request. Raises UpstreamUnreachable where the connection is closed already."""
        if not self.usable:
            raise UpstreamUnreachable("the connection was closed before an answer")
        exchange = self._exchange = Exchange(self, head_only=head_only)
        self._overhead = 0
        self._surplus = False
        if isinstance(body, bytes):
            write_whole(self, head, body)
        else:
            self.write(head)
            exchange.send(body)
        return exchange

    def write(self, data: bytes) -> None:
        # Lost on a connection that is closing: its exchange is about to be told.
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    async def drained(self) -> bool:
        while self._unwritable and self._transport is not None:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._transport is not None

    def read_on(self) -> None:
        if self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    def abort(self) -> None:
        """Close at once; an exchange that is under way fails."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
        self._ended(clean=False)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = self._parser = None
        self._ended(clean=error is None)
        self._keeper.gone(self)

    def pause_writing(self) -> None:
        self._unwritable = True

    def resume_writing(self) -> None:
        self._unwritable = False
        self._wake_writer()

    def data_received(self, data: bytes) -> None:
        exchange, parser = self._exchange, self._parser
        if exchange is None or parser is None:
            # Nobody asked: whatever this is, the next request's answer would not be its own.
            self.abort()
            return
        exchange.begun = True
        self._overhead += len(data)
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._surplus = True
            if not exchange.complete:
                exchange.garbled(f"the answer is not HTTP: {error}")
                return
        if exchange.complete:
            self._part(exchange)
        elif self._overhead > MOST_OVERHEAD:
            exchange.garbled(f"the answer has more than {MOST_OVERHEAD} bytes that are no body")
        elif exchange.answered:
            exchange.wake()
            if exchange.held > MOST_HELD:
                self._pause()

    def on_message_begin(self) -> None:
        if self._exchange is None or self._exchange.complete:
            self._surplus = True

    def on_header(self, name: bytes, value: bytes) -> None:
        exchange = self._exchange
        if exchange is not None and not exchange.answered:
            exchange.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        exchange, parser = self._exchange, self._parser
        if exchange is None or parser is None or exchange.answered:
            return
        status = parser.get_status_code()
        if 100 <= status < 200:
            # An interim answer (RFC 9110, 15.2); the final one is still to come.
            exchange.headers.clear()
            return
        self._surplus = not parser.should_keep_alive()
        exchange.head_came(status)
        if exchange.head_only:
            # The parser cannot be told that no body follows, and waits for one.
            self._surplus = exchange.complete = True

    def on_body(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is not None and exchange.answered and not exchange.complete:
            self._overhead = 0
            exchange.body_came(data)

    def on_message_complete(self) -> None:
        exchange = self._exchange
        if exchange is not None and exchange.answered:
            exchange.complete = True

    def _part(self, exchange: Exchange) -> None:
        """Let the exchange go, which has its answer, and the connection to another where it is in order."""
        self._exchange = None
        transport = self._transport
        in_order = exchange.sent and not self._surplus
        exchange.finished()
        if transport is None or not in_order or transport.is_closing() or transport.get_write_buffer_size():
            self.abort()
            return
        self.read_on()
        self._keeper.free(self)

    def _pause(self) -> None:
        if not self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def _ended(self, *, clean: bool) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.lost(clean=clean)
        self._wake_writer()

    def _wake_writer(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
