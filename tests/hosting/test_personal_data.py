"""What a model gets to see of people, by each way into the app, whether a subscription hides it or not."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from hosting.app import create_app
from hosting.services.services import Services, build_services
from hosting.settings import Settings
from local.simulator.server import Simulator, serve
from local.simulator.settings import BackendSettings, Deployment
from seams.events import ReceivedEvent
from tests.gateway.catalogs import UPSTREAM_KEY, key_hash

PERSONAL = ("ines@example.com", "+351 21 555 0100", "Ines Carvalho", "lis-fs-02.corp.example.com")
TICKET = {
    "short_description": "VPN drops for Ines Carvalho",
    "description": f"Write to {PERSONAL[0]} or call {PERSONAL[1]}. The share on {PERSONAL[3]} is gone.",
    "caller_id": "Ines Carvalho",
}
TASKS = ["summary", "classification", "entities", "reply"]
HISTORY = [TICKET | {"number": "INC7", "close_notes": f"Told {PERSONAL[0]}."}]


@dataclass(frozen=True)
class App:
    http: httpx2.AsyncClient
    services: Services
    backend: Simulator

    def seen(self) -> str:
        """Return what the backend was sent, and forget it."""
        text = " ".join(request.body.decode() for request in self.backend.requests)
        self.backend.requests.clear()
        return text.replace("^", " ")

    async def post(self, path: str, key: str, body: dict[str, Any]) -> str:
        answer = await self.http.post(path, json=body, headers={"api-key": key})
        assert answer.status_code == 200, answer.text
        return answer.text

    async def job(self, key: str, body: dict[str, Any]) -> str:
        """Run a job as the hub brings it; return its row as its owner sees it."""
        event = json.dumps({"id": f"job-{key}", "key": key, **body}).encode()
        await self.services.jobs.batches.run([ReceivedEvent(event, "0", 1, datetime.now(UTC))])
        return (await self.http.get(f"/jobs/job-{key}", headers={"api-key": key})).text


@pytest.fixture
async def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[App]:
    monkeypatch.setenv("STATE", str(tmp_path))
    monkeypatch.setenv("UPSTREAM_KEY", UPSTREAM_KEY)
    models = {"gpt-4o-mini": "gpt-4o-mini", "text-embedding-3-small": "text-embedding-3-small"}
    async with AsyncExitStack() as stack:
        deployments = {name: Deployment(model=model) for name, model in models.items()}
        settings = BackendSettings(name="b", api_key=UPSTREAM_KEY, deployments=deployments)
        backend = await stack.enter_async_context(serve(settings))
        catalog = {
            "backends": {"b": {"endpoint": backend.url, "auth": {"api_key": "setting:UPSTREAM_KEY"}}},
            "deployments": {name: {"model": name, "pool": [{"backend": "b"}]} for name in models},
            "subscriptions": {
                "hides": {"key_hashes": [key_hash("hides")]},
                "shows": {"key_hashes": [key_hash("shows")], "hide_personal_data": False},
            },
        }
        seams = {"gateway_catalog": json.dumps(catalog), "TOLLGATE_SEAMS": "local.seams:open_seams"}
        services = build_services(Settings.model_validate(seams))
        asgi = create_app(services)
        await stack.enter_async_context(asgi.router.lifespan_context(asgi))
        transport = httpx2.ASGITransport(asgi)
        http = await stack.enter_async_context(httpx2.AsyncClient(transport=transport, base_url="http://tollgate"))
        yield App(http, services, backend)


async def each_way(app: App, key: str) -> AsyncIterator[tuple[str, str, str]]:
    """Ask in every way; yields the way, what the model saw and what came back."""
    enriching = {"ticket": TICKET, "tasks": TASKS, "choices": {"category": ["Network"]}, "history": HISTORY}
    ways = {
        "summarize": app.post("/summarize", key, TICKET),
        "enrich": app.post("/enrich", key, enriching),
        "stream": app.post("/stream", key, {"input": f"{TICKET['description']} What now?"}),
        "job": app.job(key, enriching),
    }
    for way, asked in ways.items():
        answer = await asked
        yield way, app.seen(), answer


async def test_nothing_personal_reaches_a_model(app: App) -> None:
    """By each way the model sees marks, none of the values; what it repeats comes back as it was."""
    async for way, seen, answer in each_way(app, "hides"):
        assert "[EMAIL-1]" in seen, way
        for value in PERSONAL:
            # A question names nobody: there is no ticket whose caller it would be.
            assert value not in seen or (way == "stream" and value == "Ines Carvalho"), f"{way}: {value}"
        assert PERSONAL[0] in "".join(answer.replace("data: ", "").split("\n")), way
        assert "[EMAIL-" not in answer, way


async def test_a_subscription_may_opt_out(app: App) -> None:
    """With hide_personal_data off the model sees tickets as they are, by each way."""
    async for way, seen, _ in each_way(app, "shows"):
        assert PERSONAL[0] in seen, way
        assert "[EMAIL-1]" not in seen, way
