"""The composed app: what stands behind the gateway's paths."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from hosting.app import create_app
from hosting.services.services import build_services
from hosting.settings import Settings, WrongSettings
from tests.gateway.catalogs import OPERATOR_KEY, key_hash

CATALOG = {
    "backends": {"first": {"endpoint": "http://127.0.0.1:9", "auth": {"api_key": "setting:UPSTREAM_KEY"}}},
    "deployments": {"gpt-4o": {"model": "gpt-4o", "pool": [{"backend": "first"}]}},
    "subscriptions": {name: {"key_hashes": [key_hash(f"sk-{name}")]} for name in ("team-a", "team-b")},
    "operators": {"key_hashes": [key_hash(OPERATOR_KEY)]},
}


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE", str(tmp_path))
    monkeypatch.setenv("UPSTREAM_KEY", "made-up-upstream-key")
    monkeypatch.setenv("GATEWAY_CATALOG", json.dumps(CATALOG))


@pytest.fixture
async def http(environment: None, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx2.AsyncClient]:
    """The app over SQLite, in this process."""
    monkeypatch.setenv("TOLLGATE_SEAMS", "local.seams:open_seams")
    app = create_app(build_services(Settings()))
    transport = httpx2.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://tollgate") as client,
    ):
        yield client


async def test_every_answer_has_a_request_id(http: httpx2.AsyncClient) -> None:
    """Statements, pages, errors and refusals carry `x-request-id`, each its own."""
    paths = ["/chargeback/statements/team-a/2026-01", "/docs", "/openapi.json", "/nowhere", "/v1/nowhere"]
    answers = [await http.get(path, headers={"api-key": "sk-team-a"}) for path in paths]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 404, 404]
    assert len({answer.headers["x-request-id"] for answer in answers}) == len(paths)


async def test_statements_are_their_owners(http: httpx2.AsyncClient) -> None:
    """A subscription reads its own statement, an operator any; nobody else gets past the door."""
    path = "/chargeback/statements/team-a/2026-01"
    statuses = {
        key: (await http.get(path, headers={"api-key": key})).status_code
        for key in ("sk-team-a", OPERATOR_KEY, "sk-team-b", "wrong")
    }
    assert statuses == {"sk-team-a": 200, OPERATOR_KEY: 200, "sk-team-b": 403, "wrong": 401}
    assert (await http.get(path)).json()["error"]["code"] == "invalid_api_key"


async def test_everything_is_described(http: httpx2.AsyncClient) -> None:
    """/openapi.json has the gateway's paths beside the app's own."""
    paths = (await http.get("/openapi.json")).json()["paths"]
    for path in (
        "/openai/v1/chat/completions",
        "/summarize",
        "/stream",
        "/chargeback/statements/{subscription}/{period}",
    ):
        assert path in paths


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("WEBSITE_SITE_NAME", "contoso", "AzureWebJobsStorage"),
        ("AzureWebJobsStorage", "nonsense", "AzureWebJobsStorage"),
        ("AzureWebJobsStorage", "UseDevelopmentStorage=true", "EVENTHUB"),
    ],
)
def test_missing_settings_are_named(
    environment: None, monkeypatch: pytest.MonkeyPatch, setting: str, value: str, told: str
) -> None:
    """Without storage or a hub the app does not start, and says what to set."""
    monkeypatch.setenv(setting, value)
    with pytest.raises(WrongSettings, match=told):
        build_services(Settings())


def test_demo_keys_are_refused_on_azure(environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalog that holds a demo key stops the start of a deployed app."""
    operators = {"key_hashes": [key_hash("demo-operator")]}
    monkeypatch.setenv("GATEWAY_CATALOG", json.dumps(CATALOG | {"operators": operators}))
    monkeypatch.setenv("WEBSITE_SITE_NAME", "contoso")
    with pytest.raises(WrongSettings, match="demo key"):
        build_services(Settings())
