"""A listening socket with uvicorn's protocol behind it, which can refuse connections and come back on its port."""

import asyncio
import contextlib
import socket
from typing import cast

import uvicorn
from uvicorn._types import ASGI3Application  # uvicorn has no public name for it
from uvicorn.server import ServerState

from local.simulator.exchange import TransportProtocol

HOST = "127.0.0.1"
BACKLOG = 4096
CLOSE_SECONDS = 2.0


class Listener:
    """Serves one ASGI application on one port of the loopback interface."""

    def __init__(self, app: ASGI3Application, port: int) -> None:
        """`port` 0 takes a free one when it opens, and keeps it."""
        self.port = port
        self._config = uvicorn.Config(
            app,
            http=TransportProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_keep_alive=75,
        )
        self._config.load()
        self._state = ServerState()
        self._server: asyncio.Server | None = None
        self._placeholder: socket.socket | None = None

    async def open(self) -> None:
        """Listen. Raises OSError where the port is taken."""
        if self._server is not None:
            return
        loop = asyncio.get_running_loop()
        sock = self._bound()
        self._server = await loop.create_server(self._protocol, sock=sock, backlog=BACKLOG)
        if self._placeholder is not None:
            self._placeholder.close()
            self._placeholder = None

    async def refuse(self) -> None:
        """Stop listening, so that connections are refused; running answers end, idle connections are closed.

        A bound socket that does not listen keeps the port for us meanwhile.
        """
        if self._server is None:
            return
        self._server.close()
        self._server = None
        for connection in tuple(self._state.connections):
            cast("TransportProtocol", connection).shutdown()
        async with asyncio.timeout(CLOSE_SECONDS):
            while self._placeholder is None:
                # uvloop closes a listening socket in a later turn of the loop; until then it cannot be bound.
                await asyncio.sleep(0)
                with contextlib.suppress(OSError):
                    self._placeholder = self._bound()

    async def close(self) -> None:
        """Stop listening and end every connection and request."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._placeholder is not None:
            self._placeholder.close()
            self._placeholder = None
        for connection in tuple(self._state.connections):
            cast("TransportProtocol", connection).transport.abort()
        if self._state.tasks:
            _, late = await asyncio.wait(tuple(self._state.tasks), timeout=CLOSE_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        # The transports' own clean-up runs in the loop's next turn.
        await asyncio.sleep(0)

    def _protocol(self) -> TransportProtocol:
        return TransportProtocol(config=self._config, server_state=self._state, app_state={})

    def _bound(self) -> socket.socket:
        # The protocol is named because asyncio turns Nagle's algorithm off only where it is.
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((HOST, self.port))
        except OSError:
            sock.close()
            raise
        sock.setblocking(False)
        self.port = sock.getsockname()[1]
        return sock
