"""One script, two official SDKs: what Python's prints, Node's prints, too."""

import asyncio
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.metering.tokens import VOCABULARIES, TokenCounter
from local.simulator.server import serve_all
from local.simulator.settings import BackendSettings
from local.simulator.tokens import Tokenizers
from tests.gateway.catalogs import KEY, MODELS, UPSTREAM_KEY, catalog_of, key_hash
from tests.gateway.running import run_gateway

HERE = Path(__file__).parent
SDK = HERE.parents[1] / ".local" / "node-sdk" / "node_modules" / "openai"
LIMITED_KEY = "sk-limited"
RUN_SECONDS = 60

PYTHON = (sys.executable, str(HERE / "script.py"))
NODE = ("node", str(HERE / "script.mjs"), str(SDK))


async def run(*command: str) -> Any:
    """Return what the script prints, run against a gateway of its own with one backend."""
    counter = TokenCounter(VOCABULARIES)
    backend = BackendSettings(name="first", api_key=UPSTREAM_KEY, deployments=MODELS)
    async with serve_all([backend], tokenizers=Tokenizers(VOCABULARIES)) as simulators:
        catalog = catalog_of(simulators)
        catalog["subscriptions"]["limited"] = {
            "key_hashes": [key_hash(LIMITED_KEY)],
            "limits": {"requests_per_minute": 1},
        }
        async with run_gateway(simulators, counter, catalog=catalog) as gateway:
            return json.loads(await printed(*command, gateway.url, KEY, LIMITED_KEY))


async def printed(*command: str) -> bytes:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(RUN_SECONDS):
            out, error = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, error.decode()
    return out


@pytest.fixture
def node() -> tuple[str, ...]:
    if shutil.which("node") is None:
        pytest.skip("Node is not installed")
    if not SDK.exists():
        pytest.skip("The Node SDK is not installed: tests/install_node_sdk needs npm and its registry")
    return NODE


async def test_both_sdks_see_the_same(node: tuple[str, ...]) -> None:
    """Each scenario, on Azure's paths and on v1's, has the same outcome in Python and in Node, field by field."""
    in_python, in_node = await run(*PYTHON), await run(*node)
    differences = {
        f"{name}: {scenario}": (outcome, in_node[name].get(scenario))
        for name, scenarios in in_python.items()
        for scenario, outcome in scenarios.items()
        if outcome != in_node[name].get(scenario)
    }
    assert differences == {}
    assert in_python == in_node


async def test_the_outcome_is_the_right_one() -> None:
    """Answers are whole, usage is shown only where asked for, and each refusal is of its own class with its code."""
    result = await run(*PYTHON)
    for name in ("azure", "v1"):
        seen = result[name]
        assert "".join(seen["stream"]["pieces"]) == seen["chat"]["content"]
        assert (seen["stream"]["usage"], seen["stream with usage"]["usage"]) == (None, seen["chat"]["usage"])
        assert seen["tools"]["tools"][0][0] == "get_weather"
        assert set(json.loads(seen["structured"]["content"])) == {"name", "known"}
        assert seen["response"]["kept"] == seen["response"]["text"] == "".join(seen["response stream"]["deltas"])
        assert seen["models"] == sorted(MODELS)
        assert [
            (seen[refusal]["class"], seen[refusal]["status"], seen[refusal]["code"])
            for refusal in ("unauthenticated", "not found", "filtered")
        ] == [
            ("AuthenticationError", 401, "invalid_api_key"),
            ("NotFoundError", 404, "DeploymentNotFound"),
            ("BadRequestError", 400, "content_filter"),
        ]
        assert seen["bad request"]["class"] == "BadRequestError"
    limited = result["limited"]["second call"]
    assert (limited["class"], limited["code"], limited["retry after"]) == (
        "RateLimitError",
        "rate_limit_exceeded",
        True,
    )
