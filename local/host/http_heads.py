"""uvicorn's HTTP/1.1, with the bounds on a request's head that Azure's front has and uvicorn lacks.

The Functions host is Kestrel: 32 KB of headers (KestrelServerLimits.MaxRequestHeadersTotalSize), which come within 30
seconds (RequestHeadersTimeout). A connection that sends more, or nothing, ends here as it does there.
"""

import asyncio
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-type: text/plain\r\n"
    b"content-length: 32\r\n\r\nThe request's head is too large."
)


class HeadTooLarge(Exception):
    """Ends the parsing of a head; the parser turns it into its own error."""


class BoundedHeads(HttpToolsProtocol):
    """One connection. A head that ends in the read in which it began is measured exactly.

    Of one that does not, the first read is not counted, so that a head may be larger by one read of the socket.
    """

    most_bytes: ClassVar[int] = 32 * 1024
    seconds: ClassVar[float] = 30.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]  # a stream's transport is what asyncio gives
        self._messages = self._size = self._unread = 0
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        message, unfinished = self._messages, self._waiting is not None
        super().data_received(data)
        if unfinished and self._waiting is not None and message == self._messages > 0:
            self._unread += len(data)
            if self._unread > self.most_bytes and not self.transport.is_closing():
                self._refuse()

    def send_400_response(self, msg: str) -> None:
        if self._size > self.most_bytes:
            self._refuse()
        else:
            super().send_400_response(msg)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._messages += 1
        self._size = self._unread = 0
        if self._waiting is None:
            self._await_head()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        super().on_headers_complete()

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > self.most_bytes:
            raise HeadTooLarge

    def _refuse(self) -> None:
        self.transport.write(TOO_LARGE)
        self.transport.close()

    def _await_head(self) -> None:
        self._waiting: asyncio.TimerHandle | None = self.loop.call_later(self.seconds, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
