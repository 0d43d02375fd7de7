"""One request and its answer on a connection, which is let go of as soon as the answer is there to its end."""

import asyncio
from typing import Final, Protocol

from gateway.upstream.decoding import WINDOWS, Decoder, Undecodable
from gateway.upstream.sending import Writer, write_pieces
from gateway.upstream.upstream import Body, UpstreamCut, UpstreamNonsense, UpstreamUnreachable

BODILESS_STATUS: Final = frozenset({204, 304})


class Line(Writer, Protocol):
    """What an exchange needs of its connection."""

    def abort(self) -> None: ...

    def read_on(self) -> None:
        """Go on reading where that was paused."""
        ...


class Exchange:
    """An Answer (gateway/upstream/upstream.py); its connection tells it what comes.

    `begun`: bytes of an answer have come. `answered`: its head has. `complete`: all of it. `sent`: all of the request
    has been written. `held` counts the bytes that nobody has taken yet.
    """

    __slots__ = (
        "_decoder",
        "_error",
        "_line",
        "_parts",
        "_sender",
        "_until_close",
        "_waiter",
        "answered",
        "begun",
        "complete",
        "head_only",
        "headers",
        "held",
        "sent",
        "status",
    )

    def __init__(self, line: Line, *, head_only: bool) -> None:
        self._line: Line | None = line
        self.head_only = head_only
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.begun = self.answered = self.complete = False
        self.sent = True
        self.held = 0
        self._parts: list[bytes] = []
        self._decoder: Decoder | None = None
        self._until_close = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._sender: asyncio.Task[None] | None = None

    async def head(self) -> None:
        """Return when the answer's head has come. Raises UpstreamUnreachable, UpstreamNonsense, and a body's fault."""
        while not self.answered:
            if self._error is not None:
                raise self._error
            await self._something()
        if isinstance(self._error, UpstreamNonsense):
            raise self._error

    async def chunk(self) -> bytes:
        while not (data := self._take()):
            if self.complete:
                self._check_whole()
                return b""
            if self._error is not None:
                raise _cut(self._error)
            await self._something()
        if self._decoder is not None:
            # Unpacking needs no new bytes for a long while; others have their turn.
            await asyncio.sleep(0)
        return data

    def close(self) -> None:
        self._let_go()
        # Also in place of an error that was raised, whose traceback holds this exchange and its reader's call.
        self._error = UpstreamCut("the answer was closed")
        self.wake()
        self._parts.clear()

    def send(self, body: Body) -> None:
        """Write a body beside whatever else happens, until it ends or the exchange does."""
        if self._line is not None:
            self.sent = False
            self._sender = asyncio.get_running_loop().create_task(write_pieces(self._line, body))
            self._sender.add_done_callback(self._has_sent)

    def head_came(self, status: int) -> None:
        """Take the final status; `headers` holds the fields."""
        framed = chunked = False
        coding = b""
        for name, value in self.headers:
            if name == b"content-length":
                framed = True
            elif name == b"transfer-encoding":
                chunked = True
                if value.strip().lower() != b"chunked":
                    self.fail(UpstreamNonsense("the answer has a transfer coding that was not asked for"))
            elif name == b"content-encoding":
                coding = value.strip().lower()
        if not 200 <= status <= 599:
            self.fail(UpstreamNonsense(f"the answer has the status {status}"))
        self.status = status
        if not self.head_only and status not in BODILESS_STATUS:
            self._until_close = not (framed or chunked)
            self._decode(coding)
        self.answered = True

    def _decode(self, coding: bytes) -> None:
        if coding in WINDOWS:
            self._decoder = Decoder(coding)
        elif coding not in {b"", b"identity"}:
            self.fail(UpstreamNonsense("the answer is compressed in a way that was not asked for"))

    def body_came(self, data: bytes) -> None:
        self._parts.append(data)
        self.held += len(data)

    def finished(self) -> None:
        """Note that all of the answer has come; the connection is its own again."""
        self.complete = True
        self._line = None
        self._stop_sending()
        self.wake()

    def lost(self, *, clean: bool) -> None:
        """Note that the connection is gone; `clean`: by the other side's own wish."""
        if self.answered and self._until_close and clean and self._error is None:
            self.finished()
        elif self.answered:
            self.fail(UpstreamCut("the connection was lost in the middle of the answer"))
        else:
            self.fail(UpstreamUnreachable("the connection was closed before an answer"))

    def garbled(self, what: str) -> None:
        """Note that bytes came which are no HTTP: no answer at all, or the end of one."""
        self.fail(UpstreamCut(what) if self.answered else UpstreamNonsense(what))

    def fail(self, error: Exception) -> None:
        """End the exchange; the first error counts."""
        if self._error is None and not self.complete:
            self._error = error
        self._let_go()
        self.wake()

    def wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def _something(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _take(self) -> bytes:
        if self._decoder is None:
            return self._take_raw()
        try:
            while not (data := self._decoder.read()):
                if not (raw := self._take_raw()):
                    break
                self._decoder.feed(raw)
        except Undecodable as error:
            self.close()
            raise UpstreamCut(str(error)) from error
        return data

    def _take_raw(self) -> bytes:
        parts = self._parts
        if not parts:
            return b""
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self.held = 0
        if self._line is not None:
            self._line.read_on()
        return data

    def _check_whole(self) -> None:
        if self._decoder is not None and not self._decoder.finished:
            raise UpstreamCut("the compressed answer ends in the middle")

    def _has_sent(self, sender: asyncio.Task[None]) -> None:
        self.sent = True
        if not sender.cancelled() and (error := sender.exception()) is not None:
            self.fail(error if isinstance(error, Exception) else UpstreamUnreachable("sending the body was ended"))

    def _stop_sending(self) -> None:
        if self._sender is not None:
            self._sender.cancel()

    def _let_go(self) -> None:
        self._stop_sending()
        line, self._line = self._line, None
        if line is not None:
            line.abort()


def _cut(error: Exception) -> UpstreamCut:
    """Return what a reader of the answer is told; a request's own fault is not its backend's."""
    if isinstance(error, UpstreamCut):
        return error
    cut = UpstreamCut("the request's body broke off in the middle of the answer")
    cut.__cause__ = error
    return cut
