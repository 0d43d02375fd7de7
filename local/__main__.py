"""`python -m local`, which is `make run`: the app on this machine, with demo backends unless a catalog is given.

The environment: PORT (7071; 0 takes a free one), STATE (.local), GATEWAY_CATALOG and the app's other settings. Exit
codes: 0 stopped by Ctrl-C or SIGTERM; 1 the app or the demo did not start; 2 the port or the configuration is wrong.
"""

import asyncio
import contextlib
import errno
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

from gateway.catalog_file import CatalogError
from hosting.services import WrongSettings
from local.demonstration import Demo, DemoFailed, running_demo
from local.host import Host, HttpServer, listen
from local.invocations import NotServable
from local.ready import ready_text
from local.state import state_folder, streams_of

_ADDRESS: Final = "127.0.0.1"
_STOP_SECONDS: Final = 2.0
_FIRST_ANSWER_SECONDS: Final = 60.0


def main() -> int:
    logging.basicConfig(
        level=os.environ.get("LOG_LEVEL") or "INFO", format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("azure").setLevel(logging.WARNING)
    listener = _listener(os.environ.get("PORT") or "7071")
    if listener is None:
        return 2
    try:
        with listener, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_run(listener))
    except (CatalogError, WrongSettings, NotServable) as error:
        _complain(str(error))
        return 2
    except ValidationError as error:
        _complain(*_setting_errors(error))
        return 2
    except DemoFailed as error:
        _complain(str(error))
        return 1
    except KeyboardInterrupt:
        return 0


def _listener(port: str) -> socket.socket | None:
    """Take the port, or say on stderr why not."""
    if not port.isdecimal() or int(port) > 65535:
        _complain(f"PORT must be a number from 0 to 65535, not {port!r}.")
        return None
    try:
        return listen(_ADDRESS, int(port))
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        reason = "is taken; Tollgate may be running there already" if taken else f"cannot be used: {error.strerror}"
        _complain(f"Port {port} {reason}. Stop what runs there, or take another port: make run PORT=7072")
        return None


async def _run(listener: socket.socket) -> int:
    os.environ["TOLLGATE_SEAMS"] = "local.seams:open_seams"
    async with contextlib.AsyncExitStack() as stack:
        demo: Demo | None = None
        if not os.environ.get("GATEWAY_CATALOG"):
            demo = await stack.enter_async_context(running_demo(state_folder()))
            os.environ.update(demo.settings)
        host = Host(Path.cwd(), streams_of(state_folder()).stream)
        server = HttpServer(host.http())
        _stop_on_signals(server)
        await stack.enter_async_context(host.event_hubs())
        serving = asyncio.create_task(server.serve([listener]), name="http-server")
        port = listener.getsockname()[1]
        if await _answers(serving, port):
            text = ready_text(
                f"http://{_ADDRESS}:{port}",
                datetime.now(UTC),
                demo=demo,
                catalog=os.environ["GATEWAY_CATALOG"],
                not_served=host.not_served,
            )
            print(text, flush=True)
            await serving
            return 0
        stopped = server.should_exit
        server.stop()
        await serving
    if not stopped:
        _complain("Tollgate did not start; the reason is logged above.")
    return 0 if stopped else 1


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


async def _answers(serving: asyncio.Task[None], port: int) -> bool:
    """Ask the app for something over HTTP; any answer but a server error means that it has started."""
    asking = asyncio.create_task(_status(port))
    await asyncio.wait({asking, serving}, timeout=_FIRST_ANSWER_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    if not asking.done():
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        return False
    return asking.exception() is None and asking.result() < 500


async def _status(port: int) -> int:
    reader, writer = await asyncio.open_connection(_ADDRESS, port)
    try:
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        status_line = await reader.readline()
    finally:
        writer.close()
    return int(status_line.split()[1])


def _setting_errors(error: ValidationError) -> list[str]:
    problems = [f"  {'.'.join(map(str, each['loc'])) or 'settings'}: {each['msg']}" for each in error.errors()]
    return ["The app settings are not valid:", *problems]


def _complain(*lines: str) -> None:
    print(*lines, sep="\n", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
