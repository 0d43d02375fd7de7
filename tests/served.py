"""A real server for an app, in the test's own event loop."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.types import ASGIApp

STOP_SECONDS = 5.0


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[str]:
    """Serve an app by uvicorn on a free loopback port; yields its base URL.

    Leave it after the clients: it waits for their connections to close. The app's lifespan is not run.
    """
    # The protocol is named because asyncio turns Nagle's algorithm off only where it is.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, lifespan="off", log_config=None, timeout_graceful_shutdown=2)
        config.load()
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        # Start and stop by hand: uvicorn's own loop between them looks for signals, and its shut-down sleeps.
        await server.startup(sockets=[listener])
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            async with asyncio.timeout(STOP_SECONDS):
                await asyncio.gather(*server.server_state.tasks)
                for running in server.servers:
                    running.close()
                    await running.wait_closed()
