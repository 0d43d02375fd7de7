"""The demo: simulated backends as a child process, and a catalog that points at them.

Keys and catalog of the demo lie in `local/demo`, which is never deployed.
"""

import contextlib
import json
import tomllib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from local.child import Child

DEMO: Final = Path(__file__).parent / "demo"
KEYS: Final = {"service-desk": "demo-service-desk", "data-science": "demo-data-science", "operator": "demo-operator"}


@dataclass(frozen=True, slots=True)
class Demo:
    """`endpoints`: backend name -> URL. `settings`: the app settings that make the app use them."""

    endpoints: Mapping[str, str]
    settings: Mapping[str, str]


@contextlib.asynccontextmanager
async def running_demo(state: Path) -> AsyncIterator[Demo]:
    """Run the simulated backends on free ports while the block runs. Raises NotReady."""
    config, backend_key = _configure(state)
    child = await Child.start("local.simulator", "--config", str(config))
    try:
        endpoints = {name: f"http://127.0.0.1:{port}" for name, port in child.ready.items()}
        yield Demo(endpoints, _settings(endpoints, backend_key))
    finally:
        await child.end()


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
    return {
        "GATEWAY_CATALOG": json.dumps(demo_catalog(endpoints)),
        "DEMO_BACKEND_KEY": backend_key,
        "ENRICHMENT_EMBEDDINGS": "text-embedding-3-small",
    }
