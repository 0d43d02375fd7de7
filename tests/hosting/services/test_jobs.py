"""Jobs as the composition root puts them together: settings, whose they are, and what every answer carries."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from enrichment.jobs.work import SubscriptionUnknown
from gateway.subscriptions.entitlement import Entitlement
from hosting.app import create_app
from hosting.services.jobs import CallersByKey, NamedCallers
from hosting.services.services import Services, build_services
from hosting.settings import Settings, WrongSettings
from tests.gateway.catalogs import OPERATOR_KEY, key_hash

CATALOG = {
    "backends": {"first": {"endpoint": "http://127.0.0.1:9", "auth": {"api_key": "setting:UPSTREAM_KEY"}}},
    "deployments": {"gpt-4o": {"model": "gpt-4o", "pool": [{"backend": "first"}]}},
    "subscriptions": {
        "team-a": {"key_hashes": [key_hash("sk-team-a")]},
        "team-b": {"key_hashes": [key_hash("sk-team-b")], "hide_personal_data": False},
    },
    "operators": {"key_hashes": [key_hash(OPERATOR_KEY)]},
}
BODY = {"ticket": {"short_description": "VPN drops"}, "tasks": ["summary"]}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE", str(tmp_path))
    monkeypatch.setenv("UPSTREAM_KEY", "made-up-upstream-key")
    monkeypatch.setenv("GATEWAY_CATALOG", json.dumps(CATALOG))
    monkeypatch.setenv("TOLLGATE_SEAMS", "local.seams:open_seams")


@pytest.fixture
async def services(settings: None) -> AsyncIterator[Services]:
    built = build_services(Settings())
    yield built
    await built.close()


async def test_jobs_run_as_their_subscription(services: Services) -> None:
    """A subscription is found by its name, in the catalog and in the table, with its rights; none that is not there."""
    named = NamedCallers(services.register, services.models)
    await services.register.create("team-c", Entitlement(hide_personal_data=False), "operator")
    for name, placeholders in (("team-a", True), ("team-b", False), ("team-c", False)):
        async with named.named(name) as caller:
            assert (caller.subscription, caller.placeholders) == (name, placeholders)
    await services.register.revoke("team-c", None, "operator")
    for name in ("team-c", "nobody"):
        with pytest.raises(SubscriptionUnknown):
            async with named.named(name):
                pass


async def test_keys_in_events(services: Services) -> None:
    """A key is its subscription's; an operator's and a made-up one are nobody's."""
    holders = CallersByKey(services.callers)
    assert [await holders.holder(key) for key in ("sk-team-a", OPERATOR_KEY, "wrong", "")] == [
        "team-a",
        None,
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("hosts", "secrets", "told"),
    [
        ("http://contoso.example.com", "", "CALLBACK_HOSTS"),
        ("contoso.example.com", "SECRET", "CALLBACK_SECRETS"),
    ],
)
def test_wrong_lists(settings: None, monkeypatch: pytest.MonkeyPatch, hosts: str, secrets: str, told: str) -> None:
    """A list of hosts or secrets that cannot be read stops the start and names the setting."""
    monkeypatch.setenv("CALLBACK_HOSTS", hosts)
    monkeypatch.setenv("CALLBACK_SECRETS", secrets)
    with pytest.raises(WrongSettings, match=told):
        build_services(Settings())


@pytest.mark.parametrize(
    ("hosts", "secrets"),
    [("http://127.0.0.1:9000", ""), ("contoso.example.com", "*:NAME@http://127.0.0.1:9000")],
)
def test_this_machine_is_for_tests(settings: None, monkeypatch: pytest.MonkeyPatch, hosts: str, secrets: str) -> None:
    """On Azure no callback goes to the machine itself, whatever the lists say."""
    monkeypatch.setenv("WEBSITE_SITE_NAME", "tollgate")
    monkeypatch.delenv("TOLLGATE_SEAMS")
    monkeypatch.setenv("AzureWebJobsStorage", "UseDevelopmentStorage=true")
    monkeypatch.setenv("EVENTHUB", "Endpoint=sb://x.example.com;SharedAccessKeyName=n;SharedAccessKey=c2VjcmV0")
    monkeypatch.setenv("CALLBACK_HOSTS", hosts)
    monkeypatch.setenv("CALLBACK_SECRETS", secrets)
    with pytest.raises(WrongSettings, match="on Azure"):
        build_services(Settings())


async def test_correlation(services: Services) -> None:
    """Every answer of the ticket routes, refusals too, carries the caller's correlation id, unless that is odd."""
    transport = httpx2.ASGITransport(create_app(services))
    async with httpx2.AsyncClient(transport=transport, base_url="http://tollgate") as client:
        for method, path, key in (
            ("POST", "/enrich", "wrong"),
            ("POST", "/summarize", "sk-team-a"),
            ("POST", "/stream", OPERATOR_KEY),
            ("POST", "/jobs", "sk-team-a"),
            ("GET", "/jobs/nothing", "sk-team-a"),
            ("GET", "/jobs/nothing", OPERATOR_KEY),
        ):
            headers = {"api-key": key, "x-correlation-id": "INC0010023 / 7"}
            answer = await client.request(method, path, json={} if method == "POST" else None, headers=headers)
            assert answer.status_code >= 400
            assert answer.headers["x-correlation-id"] == "INC0010023 / 7"
        odd = await client.get("/jobs/nothing", headers={"api-key": "sk-team-a", "x-correlation-id": "x" * 201})
        assert "x-correlation-id" not in odd.headers


async def test_a_job_without_anybody_to_run_it(services: Services) -> None:
    """A job is accepted and kept although nothing reads the hub."""
    transport = httpx2.ASGITransport(create_app(services))
    async with httpx2.AsyncClient(transport=transport, base_url="http://tollgate") as client:
        client.headers["api-key"] = "sk-team-a"
        accepted = await client.post("/jobs", json=BODY)
        assert accepted.status_code == 202
        assert (await client.get(accepted.headers["location"])).json()["status"] == "queued"
