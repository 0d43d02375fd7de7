"""Every host that can serve an app's folder, each in a process of its own."""

import contextlib
import http.client
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
BRIDGE = Path(__file__).parent / "bridge"


@dataclass(frozen=True)
class RunningHost:
    """A host that answers at 127.0.0.1:`port`."""

    name: str
    port: int
    state: Path
    ready: dict[str, Any]
    streams: bool

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """Send one request on a connection of its own and return the whole answer."""
        with contextlib.closing(self.connection()) as connection:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response, response.read()

    def get(self, path: str) -> Any:
        return json.loads(self.request("GET", path)[1])


Start = Callable[..., contextlib.AbstractContextManager[RunningHost]]


@contextlib.contextmanager
def start_host(name: str, state: Path, directory: Path = BRIDGE, **environment: str) -> Iterator[RunningHost]:
    """Run `worker-streamed`, `worker-buffered`, `local-streamed` or `local-buffered` while the block runs."""
    kind, _, mode = name.partition("-")
    script = Path(__file__).parent / ("functions_host.py" if kind == "worker" else "serve_locally.py")
    streams = mode == "streamed"
    process = subprocess.Popen(  # noqa: S603 - our own script
        [sys.executable, str(script), str(directory), *([str(state)] if kind == "local" else [])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(ROOT), "HTTP_STREAMS": "1" if streams else "0"} | environment,
    )
    with process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        yield RunningHost(name, ready["port"], state, ready, streams)
        assert process.stdin is not None
        process.stdin.close()
        process.wait(10)


HOSTS = ["worker-streamed", "worker-buffered", "local-streamed", "local-buffered"]
