"""Calls that tickets make through the gateway in this process: they are the subscription's, and count as its own."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from gateway.metering.tokens import VOCABULARIES
from hosting.app import create_app
from hosting.services.services import build_services
from hosting.settings import Settings
from local.simulator.server import serve_all
from local.simulator.settings import BackendSettings
from local.simulator.tokens import Tokenizers
from tests.gateway.catalogs import KEY, MODELS, OTHER_KEY, UPSTREAM_KEY, catalog_of, key_hash
from tests.served import served

TICKET = {"short_description": "VPN drops", "description": "Since Monday our VPN disconnects every five minutes."}
CALL = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture
async def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx2.AsyncClient]:
    """The whole app; one subscription has two requests a minute, the other may not use the tickets' deployment."""
    monkeypatch.setenv("STATE", str(tmp_path))
    monkeypatch.setenv("UPSTREAM_KEY", UPSTREAM_KEY)
    subscriptions = {
        "team-a": {"key_hashes": [key_hash(KEY)], "limits": {"requests_per_minute": 2}},
        "team-b": {"key_hashes": [key_hash(OTHER_KEY)], "deployments": ["embed"]},
    }
    backends = [BackendSettings(name="first", api_key=UPSTREAM_KEY, deployments=MODELS)]
    async with serve_all(backends, tokenizers=Tokenizers(VOCABULARIES)) as simulators:
        settings = {
            "seams": "local.seams:open_seams",
            "gateway_catalog": json.dumps(catalog_of(simulators, subscriptions=subscriptions)),
            "enrichment_deployment": "gpt-4o",
        }
        services = build_services(Settings.model_validate(settings))
        try:
            async with served(create_app(services)) as url, httpx2.AsyncClient(base_url=url, timeout=30) as client:
                yield client
        finally:
            await services.close()


async def test_tickets_take_of_the_callers_limits(client: httpx2.AsyncClient) -> None:
    """A summary and a call of the caller's own come out of the same minute; what is over it is refused as a call is."""
    headers = {"api-key": KEY}
    assert (await client.post("/v1/chat/completions", json=CALL, headers=headers)).status_code == 200
    assert (await client.post("/summarize", json=TICKET, headers=headers)).status_code == 200
    for path, body in (("/summarize", TICKET), ("/v1/chat/completions", CALL)):
        refused = await client.post(path, json=body, headers=headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded"), path
        assert int(refused.headers["retry-after"]) > 0


async def test_tasks_over_the_limit(client: httpx2.AsyncClient) -> None:
    """Tasks for which the minute has no room say when to ask again; a ticket none of whose tasks has is refused."""
    asked = {"ticket": TICKET, "tasks": ["summary", "sentiment", "entities"], "mode": "sync"}
    answer = await client.post("/enrich", json=asked, headers={"api-key": KEY})
    assert answer.status_code == 200
    failed = [task["error"] for task in answer.json()["tasks"] if task["status"] == "failed"]
    assert [(error["code"], error["retry_after"] > 0) for error in failed] == [("rate_limit_exceeded", True)]
    refused = await client.post("/enrich", json=asked, headers={"api-key": KEY})
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert int(refused.headers["retry-after"]) > 0


async def test_tickets_need_the_right_to_their_deployment(client: httpx2.AsyncClient) -> None:
    """A subscription that may not call the model has no tickets summarised by it."""
    refused = await client.post("/summarize", json=TICKET, headers={"api-key": OTHER_KEY})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "permission_denied")
