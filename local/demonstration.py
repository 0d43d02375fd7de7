"""The demo: simulated backends as a child process, and a catalog that points at them.

Keys and catalog of the demo lie in `local/demo`, which is never deployed.
"""

import asyncio
import contextlib
import json
import os
import sys
import tomllib
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

DEMO: Final = Path(__file__).parent / "demo"
KEYS: Final = {"service-desk": "demo-service-desk", "data-science": "demo-data-science", "operator": "demo-operator"}
_READY_SECONDS: Final = 20.0
_END_SECONDS: Final = 1.0


class DemoFailed(Exception):
    """The simulated backends did not start."""


@dataclass(frozen=True, slots=True)
class Demo:
    """`endpoints`: backend name -> URL. `settings`: the app settings that make the app use them."""

    endpoints: Mapping[str, str]
    settings: Mapping[str, str]


@contextlib.asynccontextmanager
async def running_demo(state: Path) -> AsyncIterator[Demo]:
    """Run the simulated backends on free ports while the block runs. Raises DemoFailed.

    They end when their standard input closes, so that they never outlive this process, however it dies; a session of
    their own keeps a terminal's Ctrl-C from them.
    """
    config, backend_key = _configure(state)
    command = ("-m", "local.simulator", "--config", str(config), "--until-stdin-closes")
    child = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdin=PIPE, stdout=PIPE, cwd=DEMO.parent.parent, start_new_session=True
    )
    try:
        ports = await _ports(child)
        endpoints = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
        yield Demo(endpoints, _settings(endpoints, backend_key))
    finally:
        await _end(child)


def demo_catalog(endpoints: Mapping[str, str]) -> dict[str, Any]:
    """Return the demo catalog with these endpoints in place of its own."""
    catalog = tomllib.loads((DEMO / "catalog.toml").read_text())
    for name, endpoint in endpoints.items():
        catalog["backends"][name]["endpoint"] = endpoint
    return catalog


def _configure(state: Path) -> tuple[Path, str]:
    """Write the backends' settings, with free ports, into the state folder; return the file and their key."""
    backends: list[dict[str, Any]] = [
        backend | {"port": 0} for backend in json.loads((DEMO / "backends.json").read_text())
    ]
    state.mkdir(parents=True, exist_ok=True)
    config = state / "demo-backends.json"
    config.write_text(json.dumps(backends))
    return config, backends[0]["api_key"]


def _settings(endpoints: Mapping[str, str], backend_key: str) -> dict[str, str]:
    return {"GATEWAY_CATALOG": json.dumps(demo_catalog(endpoints)), "DEMO_BACKEND_KEY": backend_key}


async def _ports(child: Process) -> dict[str, int]:
    """Read the simulator's ready line: JSON of backend name -> port."""
    assert child.stdout is not None  # noqa: S101 - it was asked for as a pipe
    try:
        async with asyncio.timeout(_READY_SECONDS):
            line = await child.stdout.readline()
        ports: dict[str, int] = json.loads(line)
    except TimeoutError as error:
        raise DemoFailed(f"the simulated backends were not ready within {_READY_SECONDS:g} seconds") from error
    except ValueError as error:
        raise DemoFailed("the simulated backends ended before they were ready") from error
    return ports


async def _end(child: Process) -> None:
    for end in (_close_input, _terminate, _kill):
        end(child)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_SECONDS):
                await child.wait()
                return


def _close_input(child: Process) -> None:
    if child.stdin is not None:
        child.stdin.close()


def _terminate(child: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        child.terminate()


def _kill(child: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child.pid, 9)
