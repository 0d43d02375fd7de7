"""`python -m local.eventhubs`: the stand-in as a process of its own.

Prints one line of JSON once it listens, `{"port": 5672}`, and serves until a signal, or with `--until-stdin-closes`
until whoever started it ends. Faults are set at run time: see `local.eventhubs.control`.
"""

import argparse
import asyncio
import contextlib
import fcntl
import json
import logging
import os
import random
import signal
import sqlite3
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import uvloop

from local.eventhubs.server import DEFAULT_KEY, serve

EXAMPLES = """\
example:
  python -m local.eventhubs --folder .local/eventhubs --hub usage:4 --hub prompts:1 --port 5672
  curl 127.0.0.1:5672/faults -d '{"drop_acks": 0.05, "latency_seconds": 0.2}'
  curl 127.0.0.1:5672/counts"""


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m local.eventhubs",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--folder", type=Path, required=True, help="where the hubs' events are kept")
    parser.add_argument("--hub", action="append", type=hub, default=[], metavar="NAME:PARTITIONS")
    parser.add_argument("--spare-partitions", type=int, help="make hubs of any other name, with so many partitions")
    parser.add_argument("--port", type=int, default=0, help="of loopback; 0 takes a free one (default)")
    parser.add_argument("--key", default=DEFAULT_KEY, help=f"the shared access key (default {DEFAULT_KEY})")
    parser.add_argument("--seed", type=int, help="makes faults strike alike in every run")
    parser.add_argument("--until-stdin-closes", action="store_true")
    return parser.parse_args(given)


def hub(text: str) -> tuple[str, int]:
    name, _, partitions = text.partition(":")
    return name, int(partitions or 4)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _watch_stdin(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    # A pipe's end is the one sign of a parent's death that also SIGKILL gives.
    while os.read(0, 4096):
        pass
    loop.call_soon_threadsafe(ended.set)


@contextlib.contextmanager
def sole_use(folder: Path) -> Iterator[None]:
    """Keep the folder from other stand-ins while the block runs, or until the process ends. Raises OSError.

    Two of them would give out the same sequence numbers, and share checkpoints of different events.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as held:
            raise OSError(f"another one uses {folder}; stop it, or take another folder") from held
        yield


async def run(options: argparse.Namespace) -> None:
    dice = random.Random(options.seed)  # noqa: S311 - faults, not secrets
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    async with serve(
        options.folder,
        dict(options.hub),
        port=options.port,
        spare_partitions=options.spare_partitions,
        key=options.key,
        dice=dice,
        die=die,
    ) as stand_in:
        print(json.dumps({"port": stand_in.port}), flush=True)
        if options.until_stdin_closes:
            threading.Thread(target=_watch_stdin, args=(loop, ended), name="stdin", daemon=True).start()
        await ended.wait()


def main() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        options = arguments()
        with sole_use(options.folder):
            uvloop.run(run(options))
    except (ValueError, OSError, sqlite3.Error) as wrong:
        sys.exit(f"The stand-in for Event Hubs did not start: {wrong}")


if __name__ == "__main__":
    main()
