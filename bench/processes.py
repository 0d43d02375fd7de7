"""The processes of a run: each started on a core, its cost read from /proc, ended with everything below it."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
STOP_SECONDS: Final = 5.0
START_SECONDS: Final = 60.0


class NotStarted(Exception):
    """A process of the run did not come up; the message holds the end of what it printed."""


class Measured:
    """A started process and all its descendants."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def tree(self) -> list[int]:
        """Return the process ids of this process and its descendants that live now."""
        parents: dict[int, list[int]] = {}
        for entry in PROC.iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                    parents.setdefault(parent, []).append(int(entry.name))
        found = [self.process.pid]
        for pid in found:
            found.extend(parents.get(pid, []))
        return found

    def cpu_seconds(self) -> float:
        """Return the CPU time that all threads of the tree have used; of threads that ended, nothing is known."""
        nanoseconds = 0
        for pid in self.tree():
            for schedstat in PROC.glob(f"{pid}/task/*/schedstat"):
                with contextlib.suppress(OSError):
                    nanoseconds += int(schedstat.read_text().split()[0])
        return nanoseconds / 1e9

    def memory_megabytes(self) -> float:
        """Return the resident memory of the tree; pages that processes share are counted for each."""
        pages = 0
        for pid in self.tree():
            with contextlib.suppress(OSError):
                pages += int((PROC / str(pid) / "statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE") / 1e6

    def peak_megabytes(self) -> float:
        """Return the most resident memory that the process, without its descendants, has had so far."""
        status = (PROC / str(self.process.pid) / "status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6

    def ask(self, line: str) -> str:
        """Write one line to the process and return its next line."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()


def cores() -> tuple[int | None, int | None]:
    """Return the core of what is measured and the core of the load; None where there is only one to share."""
    usable = sorted(os.sched_getaffinity(0))
    return (usable[0], usable[1]) if len(usable) > 1 else (None, None)


@contextlib.contextmanager
def running(
    command: Sequence[str], *, core: int | None, env: Mapping[str, str] | None = None, log: Path | None = None
) -> Iterator[Measured]:
    """Run a command until the block ends. With a `log` all that it prints goes there, else its output is a pipe."""
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(log.open("w")) if log else None
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output or subprocess.PIPE,
            stderr=output,
            text=True,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
        stack.callback(_stop, process)
        if core is not None:
            os.sched_setaffinity(process.pid, {core})
        yield Measured(process)


def wait_for_line(measured: Measured, log: Path, beginning: str) -> str:
    """Return the first line in its log that begins so. Raises NotStarted when it ended or a minute has passed."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        ended = measured.process.poll() is not None
        for line in log.read_text().splitlines():
            if line.startswith(beginning):
                return line
        if ended:
            break
        time.sleep(0.05)
    raise NotStarted(log.read_text()[-2000:] or "it printed nothing")


def wait_for_port(measured: Measured, log: Path, port: int) -> None:
    """Return when something listens on the port of loopback. Raises NotStarted as above."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and measured.process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise NotStarted(log.read_text()[-2000:] or "it printed nothing")


def free_port() -> int:
    """Return a port of loopback that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_until_gone(process: subprocess.Popen[str], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _stop(process: subprocess.Popen[str]) -> None:
    """End the whole session that the process leads: politely, then by force."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        if wait_until_gone(process, STOP_SECONDS):
            break
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
