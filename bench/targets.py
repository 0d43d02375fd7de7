"""What is measured: the upstream itself, nginx in front of it, and Tollgate as `python -m local` starts it."""

import contextlib
import hashlib
import json
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.processes import Measured, free_port, running, wait_for_line, wait_for_port
from bench.scenarios import Scenario

PATH: Final = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
READY: Final = "Tollgate is ready at "
TOLLGATE: Final = "tollgate"

LIMITS: Final = {
    "limits": {"requests_per_minute": 10**8, "tokens_per_minute": 10**10, "concurrent": 10**5},
    "quota": {"tokens": 10**12, "per": "month"},
}

NGINX_CONFIGURATION: Final = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000000;
  upstream look_alike {{ {servers} keepalive 512; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://look_alike; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
    }}
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Target:
    """Something that answers on a port of loopback; `measured` is None for the upstream asked directly."""

    name: str
    port: int
    measured: Measured | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def request(self, scenario: Scenario) -> str:
        """Return the whole HTTP request, ASCII."""
        headers = {
            "Host": f"127.0.0.1:{self.port}",
            "Content-Type": "application/json",
            "Content-Length": str(len(scenario.body)),
            "User-Agent": "AzureOpenAI/Python",
            **self.headers,
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"POST {PATH} HTTP/1.1\r\n{lines}\r\n{scenario.body}"


@contextlib.contextmanager
def upstream(core: int | None) -> Iterator[list[int]]:
    """Run the look-alike; yields its two ports."""
    with running([sys.executable, "-m", "bench.upstream"], core=core) as measured:
        assert measured.process.stdout is not None
        yield [int(port) for port in measured.process.stdout.readline().split()]


def nginx_program() -> str | None:
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


@contextlib.contextmanager
def nginx(program: str, ports: list[int], folder: Path, core: int | None) -> Iterator[Target]:
    """Run nginx with proxy_pass, keep-alive to the upstream and nothing else."""
    port, log, file = free_port(), folder / "nginx.log", folder / "nginx.conf"
    servers = " ".join(f"server 127.0.0.1:{each};" for each in ports)
    file.write_text(NGINX_CONFIGURATION.format(folder=folder, servers=servers, port=port))
    with running([program, "-p", str(folder), "-c", str(file)], core=core, log=log) as measured:
        wait_for_port(measured, log, port)
        yield Target("nginx", port, measured)


@contextlib.contextmanager
def tollgate(
    ports: list[int],
    folder: Path,
    core: int | None,
    *,
    models: Sequence[str] = ("gpt-4o",),
    settings: Mapping[str, str] | None = None,
    name: str = TOLLGATE,
) -> Iterator[Target]:
    """Run the product with a subscription of its own and both ports of the look-alike as one pool.

    `models` are its deployments, each by its model's name; `settings` are further app settings. Its state is in the
    folder's `state`.
    """
    folder.mkdir(exist_ok=True)
    key, log = secrets.token_hex(16), folder / "tollgate.log"
    env = {
        "PORT": str(free_port()),
        "STATE": str(folder / "state"),
        "GATEWAY_CATALOG": json.dumps(catalog(ports, key, models)),
        "BENCH_BACKEND_KEY": "the look-alike asks for none",
        "CALL_LOG": "1",
        **(settings or {}),
    }
    with running([sys.executable, "-m", "local"], core=core, env=env, log=log) as measured:
        url = wait_for_line(measured, log, READY).removeprefix(READY).strip()
        yield Target(name, int(url.rpartition(":")[2]), measured, {"api-key": key})


def catalog(ports: list[int], key: str, models: Sequence[str]) -> dict[str, object]:
    """Return a catalog with a backend per port, a deployment per model and one subscription with limits far off."""
    backends = {
        f"look-alike-{number}": {
            "endpoint": f"http://127.0.0.1:{port}",
            "region": "swedencentral",
            "auth": {"api_key": "setting:BENCH_BACKEND_KEY"},
        }
        for number, port in enumerate(ports, 1)
    }
    digest = hashlib.sha256(key.encode()).hexdigest()
    return {
        "backends": backends,
        "deployments": {name: {"model": name, "pool": [{"backend": each} for each in backends]} for name in models},
        "subscriptions": {"bench": {"key_hashes": [f"sha256:{digest}"], "deployments": list(models), **LIMITS}},
    }
