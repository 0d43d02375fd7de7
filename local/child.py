"""A program of ours as a child process that never outlives us, however we die."""

import asyncio
import contextlib
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parent.parent
_READY_SECONDS: Final = 20.0
_END_SECONDS: Final = 1.0


class NotReady(Exception):
    """A child process did not start."""


class Child:
    """A started child; `command` began it, `ready` is the line of JSON that it printed when it was."""

    def __init__(self, process: Process, command: tuple[str, ...], ready: dict[str, Any]) -> None:
        self.process: Final = process
        self.command: Final = command
        self.ready: Final = ready

    @classmethod
    async def start(cls, module: str, *arguments: str) -> "Child":
        """Run `python -m module ... --until-stdin-closes` and wait for its line. Raises NotReady.

        It ends when its standard input closes; a session of its own keeps a terminal's Ctrl-C from it.
        """
        command = (sys.executable, "-m", module, *arguments, "--until-stdin-closes")
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=PIPE,
            stdout=PIPE,
            cwd=ROOT,
            start_new_session=True,
        )
        try:
            return cls(process, command, await _ready_line(process, module))
        except BaseException:
            await _end(process)
            raise

    async def end(self) -> None:
        """End it: politely, then by signals, in seconds."""
        await _end(self.process)


async def _ready_line(process: Process, module: str) -> dict[str, Any]:
    assert process.stdout is not None  # noqa: S101 - it was asked for as a pipe
    try:
        async with asyncio.timeout(_READY_SECONDS):
            line = await process.stdout.readline()
        ready: dict[str, Any] = json.loads(line)
    except TimeoutError as error:
        raise NotReady(f"{module} was not ready within {_READY_SECONDS:g} seconds") from error
    except ValueError as error:
        raise NotReady(f"{module} ended before it was ready") from error
    return ready


async def _end(process: Process) -> None:
    for end in (_close_input, _terminate, _kill):
        end(process)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_SECONDS):
                await process.wait()
                return


def _close_input(process: Process) -> None:
    if process.stdin is not None:
        process.stdin.close()


def _terminate(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()


def _kill(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, 9)
