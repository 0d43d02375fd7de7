"""Calls into an ASGI app of this process with an HTTP client, streamed: no socket, the app's own back-pressure.

httpx2's own ASGITransport hands a response over when the app has ended; this one hands over the head as soon as there
is one, and each piece of the body as it is sent. To the app it looks like a server (ASGI 3, HTTP spec 2.3).
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final
from urllib.parse import unquote

import httpx2
from starlette.types import ASGIApp, Message, Scope

from gateway.identity.callers import SCOPE_KEY

_LAST_CALL_SECONDS: Final = 1.0

_log: Final = logging.getLogger(__name__)


class InProcessTransport(httpx2.AsyncBaseTransport):
    """Sends requests to `app` on behalf of `caller`, which the scope carries, each in a task that the transport owns.

    Closing a response before its end, cancelling or timing out makes the app's `receive` give `http.disconnect`.
    Closing the transport waits until every app call has ended, which may be after its last byte, for at most
    `finish_seconds`, and cancels what is left then. The client's read time-out bounds the wait for the head and for
    each piece. Raises ReadError where the app failed, RemoteProtocolError where it stopped short, ReadTimeout.
    """

    def __init__(
        self, app: ASGIApp, *, caller: object, state: Mapping[str, Any] | None = None, finish_seconds: float = 30.0
    ) -> None:
        self._app = app
        self._caller = caller
        self._state = state or {}
        self._finish_seconds = finish_seconds
        self._exchanges: dict[asyncio.Task[None], _Exchange] = {}

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        exchange = _Exchange(request, await request.aread())
        task = asyncio.create_task(exchange.run(self._app, self._scope(request)), name="in-process call")
        self._exchanges[task] = exchange
        task.add_done_callback(self._forget)
        try:
            return await exchange.response()
        except BaseException:
            exchange.disconnect()
            raise

    async def aclose(self) -> None:
        for exchange in self._exchanges.values():
            exchange.disconnect()
        running = set(self._exchanges)
        if not running:
            return
        try:
            _, running = await asyncio.wait(running, timeout=self._finish_seconds)
        finally:
            for task in running:
                task.cancel()
        if running:
            _log.error("%d in-process calls did not end in %g s", len(running), self._finish_seconds)
            await asyncio.wait(running, timeout=_LAST_CALL_SECONDS)

    def _forget(self, task: asyncio.Task[None]) -> None:
        exchange = self._exchanges.pop(task)
        if exchange.failure is not None and not exchange.failure_told:
            _log.error("an in-process call failed with nobody left to tell", exc_info=exchange.failure)

    def _scope(self, request: httpx2.Request) -> Scope:
        raw_path, _, query = request.url.raw_path.partition(b"?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": request.url.scheme,
            "path": unquote(raw_path.decode("ascii")),
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "client": ("127.0.0.1", 0),
            "server": (request.url.host, request.url.port or 80),
            "state": dict(self._state),
            SCOPE_KEY: self._caller,
        }


class _Exchange(httpx2.AsyncByteStream):
    """One request and its response: the app's `receive` and `send` on one side, the body's reader on the other.

    The queue holds one piece: the app runs ahead of its reader by no more. It is shut down when nothing more will come.
    """

    def __init__(self, request: httpx2.Request, body: bytes) -> None:
        self._request = request
        self._body: bytes | None = body
        self._read_timeout: float | None = request.extensions.get("timeout", {}).get("read")
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue(maxsize=1)
        self._head: Message | None = None
        self._head_or_end = asyncio.Event()
        self._disconnected = asyncio.Event()
        self._complete = False
        self.failure: Exception | None = None
        self.failure_told = False

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        try:
            await app(scope, self._receive, self._send)
        except Exception as failure:  # noqa: BLE001 - whatever the app raises is the reader's to hear
            self.failure = failure
            # A reader that has left, or has the whole body, hears of nothing any more: the transport logs it.
            self.failure_told = not self._disconnected.is_set()
        finally:
            self._head_or_end.set()
            self._pieces.shutdown()

    async def response(self) -> httpx2.Response:
        try:
            async with asyncio.timeout(self._read_timeout):
                await self._head_or_end.wait()
        except TimeoutError as late:
            raise httpx2.ReadTimeout("no answer in time", request=self._request) from late
        if self._head is None:
            raise self._stopped_short()
        # HTTP/1.1 is told because the SDK reads past its [DONE] to the body's end only there.
        return httpx2.Response(
            self._head["status"],
            headers=list(self._head.get("headers", ())),
            stream=self,
            extensions={"http_version": b"HTTP/1.1"},
        )

    def disconnect(self) -> None:
        """Let go of the app: it reads a disconnect, and what it still sends is dropped."""
        self._disconnected.set()
        self._pieces.shutdown(immediate=True)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            try:
                async with asyncio.timeout(self._read_timeout):
                    piece = await self._pieces.get()
            except asyncio.QueueShutDown:
                break
            except TimeoutError as late:
                raise httpx2.ReadTimeout("silence inside an answer", request=self._request) from late
            yield piece
        if not self._complete:
            raise self._stopped_short()

    async def aclose(self) -> None:
        self.disconnect()

    def _stopped_short(self) -> httpx2.TransportError:
        if self.failure is not None:
            error = httpx2.ReadError(f"the app failed: {type(self.failure).__name__}", request=self._request)
            error.__cause__ = self.failure
            return error
        return httpx2.RemoteProtocolError("the app stopped before its answer was whole", request=self._request)

    async def _receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._disconnected.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        match message["type"]:
            case "http.response.start" if self._head is None:
                self._head = message
                self._head_or_end.set()
            case "http.response.body" if self._head is not None and not self._complete:
                await self._send_piece(message)
            case kind:
                raise RuntimeError(f"unexpected ASGI message {kind!r}")

    async def _send_piece(self, message: Message) -> None:
        try:
            if piece := message.get("body", b""):
                await self._pieces.put(piece)
        except asyncio.QueueShutDown:
            return
        if not message.get("more_body", False):
            self._complete = True
            self._disconnected.set()
            self._pieces.shutdown()
