"""Backends that do with each connection what a test says."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from gateway.upstream.upstream import Answer, Request

type Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi"
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@asynccontextmanager
async def backend(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[Request]:
    """Run a backend that does what `handler` does with each connection; yields a request to it."""
    handlers: set[asyncio.Task[None]] = set()

    async def handled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except RuntimeError:
            # uvloop's word for a write to a connection that the other side has closed.
            if not writer.is_closing():
                raise
        writer.close()
        with suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(handled(reader, writer))
        handlers.add(task)
        task.add_done_callback(lambda _: writer.transport.abort())

    server = await asyncio.start_server(accepted, "127.0.0.1", 0, ssl=tls)
    host, port = server.sockets[0].getsockname()
    scheme = "https" if tls else "http"
    try:
        yield Request("POST", f"{scheme}://{host}:{port}/x?api-version=1", {"api-key": "k"}, b"{}")
    finally:
        server.close()
        for task in handlers:
            task.cancel()
        ended = await asyncio.gather(*handlers, return_exceptions=True)
        await server.wait_closed()
        assert [each for each in ended if isinstance(each, Exception)] == [], ended


async def head(reader: asyncio.StreamReader) -> bytes:
    """Return a request whose body is the two bytes of the one that `backend` yields."""
    return await reader.readuntil(b"\r\n\r\n") + await reader.readexactly(2)


def always(answer: bytes, *, then_close: bool = False) -> Handler:
    """Return a handler that gives each request of a connection this answer."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await head(reader)
            writer.write(answer)
            await writer.drain()
            if then_close:
                writer.close()
                return

    return handler


async def read(answer: Answer) -> bytes:
    """Return all that is left of an answer, and close it."""
    parts = []
    try:
        while part := await answer.chunk():
            parts.append(part)
    finally:
        answer.close()
    return b"".join(parts)
