"""ServiceNow's own demo incidents through every ticket route, and the bill for them against what the answers said.

The incidents lie beside the checkout, not in it: the test is skipped where they are not.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import httpx2
import pytest

from enrichment.answers.answers import Enrichment
from enrichment.requests.requests import TaskName
from gateway.metering.tokens import VOCABULARIES
from local.simulator.server import serve_all
from local.simulator.settings import BackendSettings
from local.simulator.tokens import Tokenizers
from tests.gateway.catalogs import MODELS, UPSTREAM_KEY, catalog_of
from tests.proofs.tollgate import KEYS, ROOT, running_tollgate, statements

INCIDENTS = ROOT.parent / "shared" / "data" / "incidents.json"
CHOSEN = ("category", "subcategory", "assignment_group", "close_code")
TASKS: Sequence[str] = get_args(TaskName)
AT_ONCE = 4

pytestmark = pytest.mark.skipif(not INCIDENTS.exists(), reason="the demo incidents are not beside the checkout")


@pytest.fixture
def incidents() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(INCIDENTS.read_text())["incidents"]
    return found


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    settings = [BackendSettings(name="first", api_key=UPSTREAM_KEY, deployments=MODELS)]
    async with serve_all(settings, tokenizers=await asyncio.to_thread(Tokenizers, VOCABULARIES)) as simulators:
        of_app = {"ENRICHMENT_DEPLOYMENT": "gpt-4o", "ENRICHMENT_EMBEDDINGS": "embed"}
        async with (
            running_tollgate(catalog_of(simulators), tmp_path, **of_app) as tollgate,
            httpx2.AsyncClient(base_url=tollgate.url, headers={"api-key": KEYS["team-a"]}, timeout=60) as client,
        ):
            yield client


async def each(incidents: Sequence[dict[str, Any]], post: Any) -> list[Any]:
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(incident: dict[str, Any]) -> Any:
        async with slots:
            return await post(incident)

    return await asyncio.gather(*map(one, incidents))


@pytest.mark.timeout(180)
async def test_every_incident_is_enriched_and_billed(desk: httpx2.AsyncClient, incidents: list[dict[str, Any]]) -> None:
    """Every task succeeds on every incident, keeps to the choices, and the statement is the sum of the answers."""
    choices = {field: sorted({row[field] for row in incidents if row[field]}) for field in CHOSEN}

    async def enrich(incident: dict[str, Any]) -> dict[str, Any]:
        body = {"ticket": incident, "tasks": TASKS, "choices": choices, "history": incidents, "mode": "sync"}
        answer = await desk.post("/enrich", json=body)
        Enrichment.model_validate_json(answer.raise_for_status().text)
        told: dict[str, Any] = answer.json()
        return told

    answers = await each(incidents, enrich)
    for incident, told in zip(incidents, answers, strict=True):
        assert [(task["name"], task["status"]) for task in told["tasks"]] == [(name, "succeeded") for name in TASKS]
        assert told["summary"]["issue"]
        assert told["number"] == incident["number"]
        for field in CHOSEN:
            assert told["suggestions"].get(field, {"value": None})["value"] in (*choices[field], None)
        assert incident["number"] not in {near["number"] for near in told["similar"]["tickets"]}
    calls = sum(len(task.get("request_ids", ())) for told in answers for task in told["tasks"])
    statement = (await statements(str(desk.base_url), calls))[0]
    assert statement["requests"] == calls
    tokens = statement["tokens"]
    assert tokens["prompt_tokens"] == sum(told["usage"]["prompt_tokens"] for told in answers)
    assert tokens["completion_tokens"] == sum(told["usage"]["completion_tokens"] for told in answers)
    assert Decimal(statement["total"]) == sum(Decimal(told["cost"]) for told in answers)


@pytest.mark.timeout(180)
async def test_every_incident_is_summarised_and_asked_about(
    desk: httpx2.AsyncClient, incidents: list[dict[str, Any]]
) -> None:
    """Each becomes a paragraph that names no journal header, and a stream that ends as it should."""

    async def use(incident: dict[str, Any]) -> tuple[str, str]:
        summary = await desk.post("/summarize", json=incident)
        stream = await desk.post("/stream", json={"input": f"What helps with this? {incident['description']}"})
        return summary.raise_for_status().json()["summary"], stream.raise_for_status().text

    for summary, stream in await each(incidents, use):
        assert summary
        assert "(Work notes)" not in summary
        assert "^" not in summary
        assert stream.endswith("data: [DONE]\n\n")
        assert "event: error" not in stream
