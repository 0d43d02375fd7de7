"""Azurite, Microsoft's storage emulator, as a process of our own."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAM = Path(__file__).parent.parent / ".local" / "azurite" / "node_modules" / ".bin" / "azurite-table"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
START_SECONDS = 30
_FLAGS = ("--silent", "--disableTelemetry", "--skipApiVersionCheck", "--inMemoryPersistence")


class NotStarted(Exception):
    """Azurite did not come up; the message holds the end of what it printed."""


@contextmanager
def running_azurite(folder: Path) -> Iterator[str]:
    """Run a Table service on a free loopback port; yields its connection string. Raises NotStarted."""
    port = _free_port()
    log = folder / "azurite.log"
    with log.open("wb") as output:
        server = subprocess.Popen(  # noqa: S603 - our own installation
            [str(PROGRAM), *_FLAGS, "--tableHost", "127.0.0.1", "--tablePort", str(port)],
            cwd=folder,
            stdout=output,
            stderr=output,
        )
    try:
        _wait_for(server, port, log)
        yield (
            f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={KEY};"
            f"TableEndpoint=http://127.0.0.1:{port}/devstoreaccount1;"
        )
    finally:
        server.kill()
        server.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(server: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise NotStarted(log.read_text(errors="replace")[-2000:])
