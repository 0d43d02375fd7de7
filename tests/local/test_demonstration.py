"""The demo: its catalog, its backends and its keys belong together."""

import asyncio
import hashlib
import json
from pathlib import Path

import pytest

from gateway.catalog.catalog_file import load_catalog
from local.child import NotReady
from local.demonstration import DEMO, KEYS, demo_catalog, running_demo
from local.simulator.settings import parse_backends

SETTINGS = {"DEMO_BACKEND_KEY": "demo-backend-key"}


def test_keys() -> None:
    """The keys that are shown are those that the catalog knows by their hashes."""
    catalog = load_catalog(str(DEMO / "catalog.toml"), SETTINGS.get)
    known = {name: set(subscription.key_digests) for name, subscription in catalog.subscriptions.items()}
    known["operator"] = set(catalog.operator_digests)
    assert known == {name: {hashlib.sha256(key.encode()).digest()} for name, key in KEYS.items()}


def test_backends_serve_what_the_catalog_names() -> None:
    """Ports, keys and deployments of the simulated backends are those of the catalog, for `func start`."""
    catalog = load_catalog(str(DEMO / "catalog.toml"), SETTINGS.get)
    backends = {backend.name: backend for backend in parse_backends((DEMO / "backends.json").read_bytes())}
    assert {name: f"http://127.0.0.1:{backend.port}" for name, backend in backends.items()} == {
        name: backend.endpoint for name, backend in catalog.backends.items()
    }
    for deployment in catalog.deployments.values():
        for member in (member for tier in deployment.tiers for member in tier):
            assert backends[member.backend.name].deployments[member.deployment].model == deployment.model


def test_sample_settings_reach_the_demo() -> None:
    """local.settings.sample.json names the demo catalog and the key of its backends."""
    root = DEMO.parent.parent
    values = json.loads((root / "local.settings.sample.json").read_text())["Values"]
    assert (root / values["GATEWAY_CATALOG"]) == DEMO / "catalog.toml"
    backends = parse_backends((DEMO / "backends.json").read_bytes())
    assert {backend.api_key for backend in backends} == {values["DEMO_BACKEND_KEY"]}


def test_endpoints_are_replaced() -> None:
    """`make run` puts its free ports in place of the catalog's own."""
    catalog = demo_catalog({"westus3": "http://127.0.0.1:1"})
    assert catalog["backends"]["westus3"]["endpoint"] == "http://127.0.0.1:1"
    assert catalog["backends"]["swedencentral"]["endpoint"] == "http://127.0.0.1:7092"


async def test_backends_run_while_the_block_runs(tmp_path: Path) -> None:
    """The backends answer on the endpoints that the settings name, and are gone afterwards."""
    async with running_demo(tmp_path) as demo:
        catalog = load_catalog(demo.settings["GATEWAY_CATALOG"], demo.settings.get)
        assert {name: backend.endpoint for name, backend in catalog.backends.items()} == dict(demo.endpoints)
    for endpoint in demo.endpoints.values():
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", int(endpoint.rpartition(":")[2]))


async def test_backends_that_do_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A simulator that ends before it is ready is told, not waited for."""
    monkeypatch.setattr("local.demonstration._configure", lambda _: (tmp_path / "missing.json", ""))
    with pytest.raises(NotReady, match="ended before"):
        async with running_demo(tmp_path):
            pass
