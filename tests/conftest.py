"""Azurite, Microsoft's storage emulator, once for the whole run."""

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

AZURITE = Path(__file__).parent.parent / ".local" / "azurite" / "node_modules" / ".bin" / "azurite-table"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
START_SECONDS = 30


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the connection string of a Table service of our own on a free loopback port."""
    if not AZURITE.exists():
        pytest.skip("Azurite is not installed: tests/install_azurite needs npm and its registry")
    folder = tmp_path_factory.mktemp("azurite")
    port = _free_port()
    flags = ["--silent", "--disableTelemetry", "--skipApiVersionCheck", "--inMemoryPersistence"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(  # noqa: S603 - our own installation
            [str(AZURITE), *flags, "--tableHost", "127.0.0.1", "--tablePort", str(port)],
            cwd=folder,
            stdout=log,
            stderr=log,
        )
    try:
        _wait_for(server, port, folder / "log")
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
    pytest.fail(f"Azurite did not start: {log.read_text(errors='replace')[-2000:]}")
