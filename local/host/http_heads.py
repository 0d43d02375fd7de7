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
    """One connection. A head is measured when it is whole, and only where its reads were large enough together.

    Of one that does not end in the read in which it began, that read is not counted, so that a head may be larger by
    one read of the socket. Trailers count as part of the head, as in Kestrel.
    """

    most_bytes: ClassVar[int] = 32 * 1024
    seconds: ClassVar[float] = 30.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]  # a stream's transport is what asyncio gives
        self._in_head, self._too_large = True, False
        self._read = self._first = self._further = self._count = 0
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._read = len(data)
        self._further += self._read
        super().data_received(data)
        if self.transport.is_closing():
            return
        if not self._in_head:
            if len(self.headers) > self._count and self._size() > self.most_bytes:
                self._refuse()
        elif self._further > self.most_bytes:
            self._refuse()
        elif self._waiting is None:
            # Most heads come in one read: a timer for each would cost more than their parsing.
            self._await_head()

    def send_400_response(self, msg: str) -> None:
        if self._too_large:
            self._refuse()
        else:
            super().send_400_response(msg)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._first, self._further = self._read, 0

    def on_headers_complete(self) -> None:
        self._in_head, self._count = False, len(self.headers)
        self._stop_waiting()
        if self._first + self._further > self.most_bytes and self._size() > self.most_bytes:
            self._too_large = True
            raise HeadTooLarge
        super().on_headers_complete()

    def _size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _refuse(self) -> None:
        self.transport.write(TOO_LARGE)
        self.transport.close()

    def _await_head(self) -> None:
        self._waiting: asyncio.TimerHandle | None = self.loop.call_later(self.seconds, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
