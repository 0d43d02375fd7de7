"""Callers with access tokens through the whole app: an identity provider, the official SDKs, and simulated backends."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI

from gateway.metering.tokens import VOCABULARIES
from hosting.app import create_app
from hosting.services.services import build_services
from hosting.settings import Settings, WrongSettings
from local.simulator.server import Simulator, serve_all
from local.simulator.settings import BackendSettings, Deployment
from local.simulator.tokens import Tokenizers
from tests.gateway.catalogs import key_hash
from tests.gateway.identity_provider import APP, AUDIENCE, GROUP, TENANT, USER, IdentityProvider, identity_provider
from tests.served import served

HELLO: Any = [{"role": "user", "content": "The printer is on fire."}]
PATH = "/openai/deployments/{}/chat/completions?api-version=2024-10-21"
KEY = "sk-keyed"
OPERATOR_KEY = "sk-operator"
DEPLOYMENTS = {"gpt-4o": Deployment(model="gpt-4o-2024-11-20")}


MORE_GROUPS: dict[str, Any] = {
    "_claim_names": {"groups": "src1"},
    "_claim_sources": {"src1": {"endpoint": "https://graph.example"}},
}


@dataclass
class Running:
    """The app on `url`; `token` is one that the backend `theirs` takes, too."""

    url: str
    provider: IdentityProvider
    simulators: dict[str, Simulator]
    token: str

    async def ask(self, deployment: str, **headers: str) -> httpx2.Response:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        async with httpx2.AsyncClient(base_url=self.url, timeout=10) as client:
            return await client.post(PATH.format(deployment), json={"messages": HELLO}, headers=sent)

    async def statement(self, subscription: str, **headers: str) -> int:
        async with httpx2.AsyncClient(base_url=self.url, timeout=10) as client:
            return (await client.get(f"/chargeback/statements/{subscription}/2026-11", headers=headers)).status_code


def bearer(token: str) -> str:
    return f"Bearer {token}"


def catalog(simulators: dict[str, Simulator]) -> str:
    ours, theirs = simulators["ours"].url, simulators["theirs"].url
    pools: dict[str, list[dict[str, Any]]] = {
        "ours": [{"backend": "ours"}],
        "theirs": [{"backend": "theirs"}],
        "both": [{"backend": "theirs", "priority": 1}, {"backend": "ours", "priority": 2}],
    }
    return json.dumps(
        {
            "backends": {
                "ours": {"endpoint": ours, "auth": {"api_key": "setting:UPSTREAM_KEY"}},
                "theirs": {"endpoint": theirs, "auth": "caller"},
            },
            "deployments": {
                name: {"model": "gpt-4o", "pool": [entry | {"deployment": "gpt-4o"} for entry in pool]}
                for name, pool in pools.items()
            },
            "subscriptions": {
                "an-app": {"identities": [f"azp:{APP.upper()}"]},
                "a-user": {"identities": [f"oid:{USER}"], "deployments": ["ours"]},
                "a-group": {"identities": [f"group:{GROUP}", "role:Caller"]},
                "keyed": {"key_hashes": [key_hash(KEY)]},
            },
            "operators": {"key_hashes": [key_hash(OPERATOR_KEY)]},
        }
    )


def settings_of(**values: str) -> Settings:
    return Settings.model_validate({"seams": "local.seams:open_seams"} | values)


@pytest.fixture
async def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    monkeypatch.setenv("STATE", str(tmp_path))
    monkeypatch.setenv("UPSTREAM_KEY", "made-up")
    async with identity_provider() as provider:
        token = provider.token()
        backends = [
            BackendSettings(name="ours", api_key="made-up", deployments=DEPLOYMENTS),
            BackendSettings(name="theirs", api_key="nobody's", deployments=DEPLOYMENTS, bearer_tokens=(token,)),
        ]
        async with serve_all(backends, tokenizers=Tokenizers(VOCABULARIES)) as simulators:
            services = build_services(
                settings_of(
                    gateway_catalog=catalog(simulators),
                    entra_authority=provider.url,
                    entra_tenant_id=TENANT,
                    entra_audience=AUDIENCE,
                )
            )
            try:
                async with served(create_app(services)) as url:
                    yield Running(url, provider, simulators, token)
            finally:
                await services.close()


async def test_every_sdk_client(running: Running) -> None:
    """An app's token serves as the credential of each SDK client, in the place where the SDK sends tokens."""
    azure = AsyncAzureOpenAI(azure_endpoint=running.url, azure_ad_token=running.token, api_version="2024-10-21")
    plain = AsyncOpenAI(base_url=f"{running.url}/v1/", api_key=running.token)
    async with azure, plain:
        for client in (azure, plain):
            answer = await client.chat.completions.create(model="ours", messages=HELLO)
            assert answer.choices[0].message.content
            pieces = [
                piece async for piece in await client.chat.completions.create(model="ours", messages=HELLO, stream=True)
            ]
            assert len(pieces) > 1
        assert [model.id async for model in plain.models.list()] == ["ours", "theirs", "both"]
    assert running.provider.fetches == 1


async def test_each_kind_of_identity(running: Running) -> None:
    """App, user, group and role lead to their subscriptions, the strongest first, and to their statements alone."""
    kinds: dict[str, dict[str, Any]] = {
        "an-app": {},
        "a-user": {"oid": USER, "scp": "call", "groups": [GROUP]},
        "a-group": {"azp": None, "oid": "somebody", "groups": ["another", GROUP]},
    }
    for subscription, claims in kinds.items():
        token = bearer(running.provider.token(**claims))
        assert (await running.ask("ours", authorization=token)).status_code == 200
        for other in ("an-app", "a-user", "a-group", "keyed"):
            status = await running.statement(other, authorization=token)
            assert status == (200 if other == subscription else 403)
    role = bearer(running.provider.token(azp=None, roles=["Caller"]))
    assert await running.statement("a-group", authorization=role) == 200
    forbidden = await running.ask("both", authorization=bearer(running.provider.token(oid=USER, scp="call")))
    assert forbidden.status_code == 403


async def test_headers_that_nobody_signed(running: Running) -> None:
    """Headers that name a subscription or a user, as some proxies set them, change nothing."""
    claimed = {"x-ms-client-principal-id": USER, "x-ms-client-principal": "e30=", "x-subscription": "keyed"}
    assert await running.statement("keyed", authorization=bearer(running.token), **claimed) == 403
    assert await running.statement("an-app", **claimed) == 401


async def test_refused_tokens_are_the_sdks_authentication_errors(running: Running) -> None:
    """A token that is not believed, or nobody's, says why, challenges as RFC 6750 has it, and reaches no backend."""
    for token, reason in {
        running.provider.token(aud="api://other"): "audience",
        running.provider.token(azp="nobody", **MORE_GROUPS): "more than 200 groups.*application role",
        running.provider.token(azp="nobody"): "no subscription lists its identity .azp:nobody",
        running.provider.token(azp=None): "proves none",
    }.items():
        client = AsyncAzureOpenAI(azure_endpoint=running.url, azure_ad_token=token, api_version="2024-10-21")
        async with client:
            with pytest.raises(openai.AuthenticationError, match=reason) as refused:
                await client.chat.completions.create(model="ours", messages=HELLO)
        assert refused.value.code == "invalid_token"
        assert refused.value.response.headers["www-authenticate"] == 'Bearer error="invalid_token"'
        assert token not in refused.value.response.text
    assert (await running.ask("ours", authorization=bearer("eyJ" + "x" * 20_000 + ".x.x"))).status_code == 401
    assert not running.simulators["ours"].requests


async def test_a_callers_own_token_goes_upstream(running: Running) -> None:
    """A backend with auth = caller gets the caller's token, as credential alone or beside a key."""
    beside: tuple[dict[str, str], ...] = ({}, {"api_key": KEY})
    for headers in beside:
        answer = await running.ask("theirs", authorization=bearer(running.token), **headers)
        assert (answer.status_code, answer.headers["x-gateway-backend"]) == (200, "theirs")
    assert len(running.simulators["theirs"].requests) == 2


async def test_a_caller_without_a_token(running: Running) -> None:
    """Such backends are passed over for a caller with a key only; where there are no others, it hears what to send."""
    for credentials in (
        {"api_key": KEY},
        {"authorization": bearer(KEY)},
        {"api_key": KEY, "authorization": bearer(KEY)},
    ):
        for _ in range(8):
            told = await running.ask("theirs", **credentials)
            assert (told.status_code, told.json()["error"]["code"]) == (401, "token_required")
            assert "Authorization: Bearer" in told.json()["error"]["message"]
        other = await running.ask("both", **credentials)
        assert (other.headers["x-gateway-backend"], other.headers["x-gateway-attempts"]) == ("ours", "1")
    assert not running.simulators["theirs"].requests
    answer = await running.ask("both", authorization=bearer(running.token))
    assert (answer.headers["x-gateway-backend"], answer.headers["x-gateway-attempts"]) == ("theirs", "1")


async def test_a_backend_that_refuses_a_callers_token(running: Running) -> None:
    """Its refusal passes through as it is, and the backend goes on serving those whom it takes."""
    unwelcome = running.provider.token(roles=["Other"])
    for _ in range(8):
        refused = await running.ask("theirs", authorization=bearer(unwelcome))
        assert (refused.status_code, refused.headers["x-gateway-backend"]) == (401, "theirs")
        assert refused.json()["error"]["code"] != "invalid_token"
    answer = await running.ask("theirs", authorization=bearer(running.token))
    assert (answer.status_code, answer.headers["x-gateway-attempts"]) == (200, "1")


async def test_an_identity_that_was_removed(running: Running) -> None:
    """A valid token whose identity is taken from its subscription is refused, at once where that was done."""
    token = bearer(running.provider.token(azp="moving"))
    async with httpx2.AsyncClient(base_url=running.url, headers={"api-key": OPERATOR_KEY}) as operator:
        made = await operator.post("/manage/subscriptions", json={"name": "moving", "identities": ["azp:MOVING"]})
        assert made.status_code == 201
        assert (await running.ask("ours", authorization=token)).status_code == 200
        changed = await operator.patch("/manage/subscriptions/moving", json={"identities": []})
        assert changed.status_code == 200
    refused = await running.ask("ours", authorization=token)
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_token")


async def test_a_provider_that_is_out_of_order(running: Running) -> None:
    """Without keys, tokens are told to come back (503) on every route, and callers with keys notice nothing."""
    running.provider.mood = "down"
    unavailable = await running.ask("ours", authorization=bearer(running.token))
    assert (unavailable.status_code, unavailable.headers["retry-after"]) == (503, "1")
    assert unavailable.json()["error"]["code"] == "identity_provider_unavailable"
    assert await running.statement("an-app", authorization=bearer(running.token)) == 503
    assert (await running.ask("ours", api_key=KEY)).status_code == 200


async def test_bad_tokens_starve_nobody(running: Running) -> None:
    """Among hundreds of forged tokens, those of true callers are answered."""
    await running.ask("ours", authorization=bearer(running.token))
    forged = [running.provider.token(oid=str(number), signed_by="evil") for number in range(300)]
    async with httpx2.AsyncClient(base_url=running.url, timeout=10) as client:

        async def status(token: str) -> int:
            answer = await client.get("/openai/v1/models", headers={"authorization": bearer(token)})
            return answer.status_code

        answers = asyncio.gather(*map(status, forged))
        assert {await status(running.token) for _ in range(20)} == {200}
        assert set(await answers) == {401}


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"entra_tenant_id": TENANT}, "or neither"),
        ({"entra_audience": AUDIENCE}, "or neither"),
        ({"entra_tenant_id": "common", "entra_audience": AUDIENCE}, "one tenant"),
        ({"entra_tenant_id": TENANT, "entra_audience": AUDIENCE, "entra_authority": "http://a.example"}, "loopback"),
    ],
)
def test_settings_that_stop_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], problem: str
) -> None:
    """Half of the settings, a tenant that is none, and a login host without TLS stop the start with their names."""
    monkeypatch.setenv("STATE", str(tmp_path))
    monkeypatch.setenv("DEMO_BACKEND_KEY", "made-up")
    with pytest.raises(WrongSettings, match=problem) as wrong:
        build_services(settings_of(**settings))
    assert "ENTRA_" in str(wrong.value)
