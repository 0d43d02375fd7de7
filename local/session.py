"""From a port to a running app and back: the demo, the host, the ready text, signals, the end."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import uvloop
from pydantic import ValidationError

from gateway.catalog.catalog_file import CatalogError
from hosting.settings import WrongSettings
from local.child import NotReady
from local.demonstration import Demo, running_demo
from local.events.streams import FILES, open_streams
from local.host.host import Host, HttpServer
from local.host.invocations import NotServable
from local.ready import ready_text
from local.state import open_state_folder, state_folder

_STOP_SECONDS: Final = 2.0
_FIRST_ANSWER_SECONDS: Final = 60.0


def run(listener: socket.socket) -> int:
    """Serve the `function_app.py` of the working directory until a signal; return the exit code."""
    logging.basicConfig(level=_log_level(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("azure").setLevel(logging.WARNING)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    try:
        open_state_folder()
    except OSError as error:
        _complain(
            f"The state folder {state_folder()} cannot be written: {error.strerror}. Name another: make run STATE=..."
        )
        return 2
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(listener))
    except (CatalogError, WrongSettings, NotServable) as error:
        _complain(str(error))
        return 2
    except ValidationError as error:
        _complain(*_setting_errors(error))
        return 2
    except NotReady as error:
        _complain(str(error))
        return 1


def _log_level() -> str:
    """Return the level to log at; one that does not exist is for the settings to refuse, by name."""
    level = os.environ.get("LOG_LEVEL", "").upper()
    return level if level in logging.getLevelNamesMapping() else "INFO"


async def _serve(listener: socket.socket) -> int:
    # Whoever tries what an outage does should not have to wait for half a minute.
    os.environ.setdefault("OUTBOX_SCHEDULE", "*/2 * * * * *")
    async with contextlib.AsyncExitStack() as stack:
        streams = await stack.enter_async_context(open_streams(os.environ.get("EVENTS") or FILES, state_folder()))
        os.environ.update(streams.settings)
        demo: Demo | None = None
        if not os.environ.get("GATEWAY_CATALOG"):
            demo = await stack.enter_async_context(running_demo(state_folder()))
            os.environ.update(demo.settings)
        host = Host(Path.cwd(), streams.source, state_folder() / "timers")
        server = HttpServer(host.http())
        _stop_on_signals(server)
        await stack.enter_async_context(host.triggers())
        serving = asyncio.create_task(server.serve([listener]), name="http-server")
        address = "{}:{}".format(*listener.getsockname())
        if await _answers(serving, address):
            print(_ready_text(address, host, demo, streams.port), flush=True)
        elif not server.should_exit:
            _complain("Tollgate did not start; the reason is logged above.")
            server.stop()
            await serving
            return 1
        await serving
    return 0


def _ready_text(address: str, host: Host, demo: Demo | None, hub_port: int | None) -> str:
    return ready_text(
        f"http://{address}",
        datetime.now(UTC),
        demo=demo,
        catalog=os.environ["GATEWAY_CATALOG"],
        not_served=host.not_served,
        hub_port=hub_port,
    )


def _stop_on_signals(server: HttpServer) -> None:
    """Let Ctrl-C and SIGTERM end the process in good order, and in any case in time."""

    def stop() -> None:
        if not server.should_exit:
            late = threading.Timer(_STOP_SECONDS, os._exit, (0,))
            late.daemon = True
            late.start()
        server.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop)


async def _answers(serving: asyncio.Task[None], address: str) -> bool:
    """Ask the app for something over HTTP; any answer but a server error means that it has started."""
    asking = asyncio.create_task(_status(address))
    await asyncio.wait({asking, serving}, timeout=_FIRST_ANSWER_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    if not asking.done():
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        return False
    return asking.exception() is None and asking.result() < 500


async def _status(address: str) -> int:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(f"GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
        status_line = await reader.readline()
    finally:
        writer.close()
    return int(status_line.split()[1])


def _setting_errors(error: ValidationError) -> list[str]:
    """Name each setting as it is set: a field's own name stands for one in capitals."""
    problems = []
    for each in error.errors():
        name = ".".join(map(str, each["loc"])) or "together"
        problems.append(f"  {name.upper() if name.islower() and name != 'together' else name}: {each['msg']}")
    return ["The app settings are not valid:", *problems]


def _complain(*lines: str) -> None:
    print(*lines, sep="\n", file=sys.stderr, flush=True)
