"""`python -m local.simulator`: serve backends until a signal comes, or with --until-stdin-closes until stdin ends."""

import argparse
import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec
import uvloop

from local.simulator.listener import Listener
from local.simulator.server import control_listener, serve_all
from local.simulator.settings import VOCABULARIES, BackendSettings, parse_backend, parse_backends
from local.simulator.tokens import VocabularyMissing
from seams.clock import SystemClock

CONTROL = "control"


def arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local.simulator", description="Simulated Azure OpenAI backends.")
    parser.add_argument("--backend", action="append", default=[], metavar="JSON", help="one backend; repeatable")
    parser.add_argument("--config", type=Path, metavar="FILE", help="a JSON list of backends")
    parser.add_argument(
        "--control", type=int, metavar="PORT", help="also serve control routes where no fault closes them; 0: free port"
    )
    parser.add_argument("--vocabularies", type=Path, default=VOCABULARIES, metavar="FOLDER")
    parser.add_argument("--until-stdin-closes", action="store_true", help="end with the parent, however it ended")
    return parser.parse_args(given)


def backends(options: argparse.Namespace) -> list[BackendSettings]:
    """Return the backends asked for. Raises ValueError for none or a name that is taken, DecodeError, OSError."""
    found = [parse_backend(text) for text in options.backend]
    if options.config is not None:
        found += parse_backends(options.config.read_bytes())
    names = [entry.name for entry in found]
    if not names or len(set(names)) < len(names) or CONTROL in names:
        raise ValueError(f"backends need names of their own, and none is called {CONTROL!r}: {names}")
    return found


def _watch_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    # A pipe's end is the one sign of a parent's death that also SIGKILL gives.
    while os.read(0, 4096):
        pass
    loop.call_soon_threadsafe(stop.set)


async def run(options: argparse.Namespace) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    if options.until_stdin_closes:
        threading.Thread(target=_watch_stdin, args=(loop, stop), name="stdin", daemon=True).start()
    async with serve_all(backends(options), vocabularies=options.vocabularies) as simulators:
        ports = {name: simulator.port for name, simulator in simulators.items()}
        control: Listener | None = None
        if options.control is not None:
            control = control_listener(simulators, options.control, SystemClock())
            await control.open()
            ports[CONTROL] = control.port
        print(json.dumps(ports), flush=True)
        try:
            await stop.wait()
        finally:
            if control is not None:
                await control.close()


def main() -> None:
    try:
        uvloop.run(run(arguments(sys.argv[1:])))
    except (ValueError, OSError, VocabularyMissing, msgspec.DecodeError) as wrong:
        sys.exit(f"The simulator did not start: {wrong}")


if __name__ == "__main__":
    main()
