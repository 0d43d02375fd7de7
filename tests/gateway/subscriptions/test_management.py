"""Subscriptions over HTTP, on two instances of the whole app, their keys used by the openai SDK."""

import asyncio
import hashlib
import json
import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from local.state import state_folder
from seams.tables import TableUnavailable
from tests.clocks import ShiftedClock
from tests.gateway.catalogs import KEY, OTHER_KEY
from tests.gateway.managed import PATH, Instance, clock, here, instances, there

__all__ = ["clock", "here", "instances", "there"]

TTL = 30.0
FIELDS = {
    "cost_centre": "4711",
    "deployments": ["gpt-4o", "embed"],
    "identities": ["oid:0a", "role:Caller"],
    "limits": {"requests_per_minute": 600, "tokens_per_minute": 120000, "concurrent": 50},
    "quota": {"tokens": 50000000, "per": "month"},
    "budget": {"amount": "500.10", "currency": "USD", "per": "week", "hard": True},
    "may_choose_backend": True,
}


async def say(client: openai.AsyncOpenAI) -> str:
    answer = await client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hello."}])
    return answer.choices[0].message.content or ""


async def test_a_created_subscription_calls_models_at_once(here: Instance, there: Instance) -> None:
    """The SDK has its answer with either key on either instance, and embeddings are refused where not entitled."""
    keys = (await here.create("crm", deployments=["gpt-4o"]))["keys"]
    for instance in (here, there):
        for key in keys.values():
            client = instance.openai(key)
            assert await say(client)
            with pytest.raises(openai.PermissionDeniedError):
                await client.embeddings.create(model="embed", input="x")


async def test_rotation_and_revocation(here: Instance, there: Instance, clock: ShiftedClock) -> None:
    """A rotated key stops at once here and within the TTL there, the other goes on; then both stop when revoked."""
    keys = (await here.create("crm"))["keys"]
    old, primary = there.openai(keys["secondary"]), there.openai(keys["primary"])
    assert await say(old)

    rotated = await here.operator.post(f"{PATH}/crm/keys/secondary")

    assert rotated.status_code == 200
    assert rotated.headers["cache-control"] == "no-store"
    assert list(rotated.json()["keys"]) == ["secondary"]
    with pytest.raises(openai.AuthenticationError):
        await say(here.openai(keys["secondary"]))
    clock.ahead += timedelta(seconds=TTL)
    with pytest.raises(openai.AuthenticationError):
        await say(old)
    assert await say(primary)
    assert await say(there.openai(rotated.json()["keys"]["secondary"]))

    assert (await here.operator.delete(f"{PATH}/crm")).status_code == 204

    with pytest.raises(openai.AuthenticationError):
        await say(here.openai(keys["primary"]))
    clock.ahead += timedelta(seconds=TTL)
    with pytest.raises(openai.AuthenticationError):
        await say(primary)


async def test_what_is_created_is_shown(here: Instance, there: Instance) -> None:
    """Every field comes back, on any instance; the keys once, their digests never."""
    created = await here.operator.post(PATH, json={"name": "crm", **FIELDS})

    assert created.status_code == 201
    assert created.headers["location"] == f"{PATH}/crm"
    assert created.headers["cache-control"] == "no-store"
    body = created.json()
    keys = body.pop("keys")
    shown = await there.operator.get(created.headers["location"])
    assert shown.headers["etag"] == created.headers["etag"]
    assert shown.json() == body
    assert FIELDS.items() <= body.items()
    assert (body["name"], body["source"]) == ("crm", "table")
    listed = (await there.operator.get(PATH)).text
    for key in keys.values():
        for secret in (key, hashlib.sha256(key.encode()).hexdigest()):
            assert secret not in listed + shown.text
    state = b"".join(path.read_bytes() for path in await asyncio.to_thread(_files, state_folder()))
    assert b"role:Caller" in state
    assert not any(key.encode() in state for key in keys.values())


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_defaults_are_the_catalogs(here: Instance) -> None:
    """A subscription that is only a name may use every deployment without limits."""
    created = await here.create("Plain.1_x-")
    assert (created["deployments"], created["quota"], created["budget"]) == (None, None, None)
    assert set(created["limits"].values()) == {None}


async def test_lists_are_paged(here: Instance) -> None:
    """Pages of any size give the table's and the catalog's subscriptions once each, in order."""
    for name in ("a", "team-aa", "z"):
        await here.create(name)
    for limit in (1, 2, 5, 100):
        seen: list[tuple[str, str]] = []
        after: str | None = ""
        while after is not None:
            page = (await here.operator.get(PATH, params={"limit": limit, "after": after})).json()
            assert 1 <= len(page["subscriptions"]) <= limit
            seen += [(each["name"], each["source"]) for each in page["subscriptions"]]
            after = page["next"]
        assert seen == [
            ("a", "table"),
            ("team-a", "catalog"),
            ("team-aa", "table"),
            ("team-b", "catalog"),
            ("z", "table"),
        ]


async def test_a_change_is_a_merge_patch(here: Instance) -> None:
    """What is named changes, null takes a field back to its default, the rest stays; the keys go on."""
    keys = (await here.create("crm", **FIELDS))["keys"]
    patch = {
        "limits": {"concurrent": 5, "tokens_per_minute": None},
        "quota": None,
        "budget": {"hard": False},
        "deployments": ["gpt-4o"],
    }

    changed = await here.operator.patch(f"{PATH}/crm", json=patch)

    assert changed.status_code == 200
    body = changed.json()
    assert body["limits"] == {"requests_per_minute": 600, "tokens_per_minute": None, "concurrent": 5}
    assert body["budget"] == {"amount": "500.10", "currency": "USD", "per": "week", "hard": False}
    assert (body["quota"], body["deployments"], body["cost_centre"]) == (None, ["gpt-4o"], "4711")
    assert body["changed_at"] > body["created_at"]
    shown = await here.operator.get(f"{PATH}/crm")
    assert (shown.json(), shown.headers["etag"]) == (body, changed.headers["etag"])
    client = here.openai(keys["primary"])
    assert await say(client)
    with pytest.raises(openai.PermissionDeniedError):
        await client.embeddings.create(model="embed", input="x")


async def test_if_match_refuses_what_was_not_seen(here: Instance, there: Instance) -> None:
    """A change, a rotation or a revocation of another version than was seen is 412 and does nothing."""
    await here.create("crm")
    seen = {"if-match": (await there.operator.get(f"{PATH}/crm")).headers["etag"]}
    assert (await here.operator.patch(f"{PATH}/crm", json={"cost_centre": "1"})).status_code == 200
    for answer in (
        await there.operator.patch(f"{PATH}/crm", json={"cost_centre": "2"}, headers=seen),
        await there.operator.post(f"{PATH}/crm/keys/primary", headers=seen),
        await there.operator.delete(f"{PATH}/crm", headers=seen),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (412, "subscription_changed")
    now = (await there.operator.get(f"{PATH}/crm")).headers["etag"]
    both = {"if-match": f'"other", {now}'}
    assert (await there.operator.patch(f"{PATH}/crm", json={"cost_centre": "3"}, headers=both)).status_code == 200
    assert (await there.operator.delete(f"{PATH}/crm", headers={"if-match": "*"})).status_code == 204


async def test_rivals_without_if_match_all_have_their_way(here: Instance, there: Instance) -> None:
    """Changes of different fields at one moment from two instances are all kept."""
    await here.create("crm")
    patches = [
        {"cost_centre": "1"},
        {"limits": {"concurrent": 1}},
        {"deployments": ["embed"]},
        {"quota": {"tokens": 5, "per": "day"}},
    ]
    answers = await asyncio.gather(
        *(
            instance.operator.patch(f"{PATH}/crm", json=patch)
            for patch, instance in zip(patches, (here, there, here, there), strict=True)
        )
    )
    assert [answer.status_code for answer in answers] == [200] * 4
    body = (await here.operator.get(f"{PATH}/crm")).json()
    assert (body["cost_centre"], body["deployments"], body["limits"]["concurrent"]) == ("1", ["embed"], 1)
    assert body["quota"] == {"tokens": 5, "per": "day"}


async def test_a_name_is_one_subscriptions(here: Instance, there: Instance) -> None:
    """Of many who create a name at one moment one succeeds, and its keys work; a revoked name is free again."""
    answers = await asyncio.gather(
        *(instance.operator.post(PATH, json={"name": "crm", "identities": ["oid:1"]}) for instance in (here, there) * 4)
    )
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
    (created,) = (answer for answer in answers if answer.status_code == 201)
    assert await say(there.openai(created.json()["keys"]["primary"]))

    await here.operator.delete(f"{PATH}/crm")
    again = await here.create("crm", identities=["oid:1"])

    assert await say(here.openai(again["keys"]["primary"]))
    with pytest.raises(openai.AuthenticationError):
        await say(here.openai(created.json()["keys"]["primary"]))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "name: is missing"),
        ({"name": "a b"}, "name: a name has 1 to 64"),
        ({"name": "x", "key_hashes": []}, "key_hashes: unknown key"),
        ({"name": "x", "deployments": ["gpt-9", "embed"]}, "deployments: no deployment 'gpt-9'"),
        ({"name": "x", "limits": {"concurrent": "5"}}, "limits.concurrent: "),
        ({"name": "x", "limits": {"concurent": 5}, "quota": 1}, "limits.concurent: unknown key; quota: "),
        ({"name": "x", "identities": ["1"]}, "identities.0: "),
        ({"name": "x", "identities": ["oid:1", "oid:1"] * 51}, "identities: a subscription has at most 100"),
        ({"name": "x", "budget": {"amount": "-1", "per": "day"}}, "budget.amount: "),
    ],
)
async def test_wrong_fields_are_named(here: Instance, fields: dict[str, Any], message: str) -> None:
    """422 with the path of everything that is wrong, and nothing is created."""
    answer = await here.operator.post(PATH, json=fields)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_request")
    assert message in answer.json()["error"]["message"]
    assert (await here.operator.get(f"{PATH}/x")).status_code == 404


@pytest.mark.parametrize("patch", [{"name": "y"}, {"limits": {"concurrent": 0}}, {"deployments": ["gpt-9"]}, [1]])
async def test_wrong_changes_are_refused(here: Instance, patch: object) -> None:
    """A patch that makes no valid subscription is 422 and changes nothing."""
    await here.create("crm")
    before = (await here.operator.get(f"{PATH}/crm")).json()
    assert (await here.operator.patch(f"{PATH}/crm", json=patch)).status_code == 422
    assert (await here.operator.get(f"{PATH}/crm")).json() == before


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"nonsense", 400, "invalid_request"),
        (b"\xff", 400, "invalid_request"),
        (b"[" * 60_000, 400, "invalid_request"),
        (b" " * 65_537, 413, "request_too_large"),
    ],
)
async def test_bodies_that_are_none(here: Instance, body: bytes, status: int, code: str) -> None:
    """What is no JSON, or is far too long, is refused in OpenAI's shape."""
    answer = await here.operator.post(PATH, content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


async def test_the_catalogs_are_read_only(here: Instance) -> None:
    """They are shown, and every change is 409 with the place where to make it."""
    shown = (await here.operator.get(f"{PATH}/team-b")).json()
    assert (shown["source"], shown["deployments"], shown["keys_made_at"]) == ("catalog", ["embed"], None)
    for answer in (
        await here.operator.patch(f"{PATH}/team-b", json={}),
        await here.operator.post(f"{PATH}/team-b/keys/primary"),
        await here.operator.delete(f"{PATH}/team-b"),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "subscription_read_only")
    answer = await here.operator.post(PATH, json={"name": "team-b"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "subscription_exists")
    assert "catalog" in answer.json()["error"]["message"]


async def test_an_identity_is_one_subscriptions(here: Instance) -> None:
    """What another subscription lists is 409, and names it."""
    await here.create("crm", identities=["oid:1"])
    await here.create("erp")
    for answer in (
        await here.operator.post(PATH, json={"name": "x", "identities": ["oid:1"]}),
        await here.operator.patch(f"{PATH}/erp", json={"identities": ["oid:1"]}),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "identity_taken")
        assert "crm" in answer.json()["error"]["message"]


CALLS = [
    ("GET", PATH),
    ("GET", f"{PATH}/team-a"),
    ("POST", PATH),
    ("PATCH", f"{PATH}/team-a"),
    ("POST", f"{PATH}/team-a/keys/primary"),
    ("DELETE", f"{PATH}/team-a"),
]


@pytest.mark.parametrize(("method", "path"), CALLS)
async def test_operators_only(here: Instance, method: str, path: str) -> None:
    """No key is 401; a subscription's key is 403, its own subscription included, whatever the body is."""
    assert (await here.anyone.request(method, path, json={"name": "x"})).status_code == 401
    for key in (KEY, OTHER_KEY):
        answer = await here.anyone.request(method, path, json={"wrong": 1}, headers={"api-key": key})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "permission_denied")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"{PATH}/nobody", 404),
        ("PATCH", f"{PATH}/nobody", 404),
        ("DELETE", f"{PATH}/nobody", 404),
        ("POST", f"{PATH}/nobody/keys/primary", 404),
        ("POST", f"{PATH}/nobody/keys/tertiary", 422),
        ("GET", f"{PATH}/a%20b", 422),
        ("GET", f"{PATH}?limit=0", 422),
        ("GET", f"{PATH}?limit=1001", 422),
        ("GET", f"{PATH}?after=a%20b", 422),
    ],
)
async def test_what_is_not_there(here: Instance, method: str, path: str, status: int) -> None:
    """A name that is nobody's is 404, one that can be nobody's 422."""
    assert (await here.operator.request(method, path, json={})).status_code == status


async def test_the_audit_log_says_who_did_what(here: Instance, caplog: pytest.LogCaptureFixture) -> None:
    """One line for each change, none for a refusal, and no key in any line."""
    caplog.set_level(logging.WARNING)
    caplog.handler.setLevel(logging.DEBUG)
    keys = list((await here.create("crm"))["keys"].values())
    await here.operator.patch(f"{PATH}/crm", json={"cost_centre": "1", "quota": None})
    keys += (await here.operator.post(f"{PATH}/crm/keys/primary")).json()["keys"].values()
    await here.operator.post(PATH, json={"name": "crm"})
    await here.operator.delete(f"{PATH}/crm")

    lines = [record.getMessage() for record in caplog.records if record.name == "tollgate.audit"]

    who = "by=operators.key_hashes.0 from=127.0.0.1"
    deeds = ("created", "changed cost_centre, quota", "rotated primary key", "revoked")
    assert lines == [f"subscription=crm deed={deed!r} {who}" for deed in deeds]
    assert not any(key in caplog.text for key in keys)


async def test_storage_that_is_down(here: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    """Management is 503; known keys and the catalog's call models on, an unknown one is told to come back."""
    known = here.openai((await here.create("crm"))["keys"]["primary"])
    unknown = here.openai((await here.create("erp"))["keys"]["primary"])
    assert await say(known)

    async def fail(*_: object) -> None:
        raise TableUnavailable("down")

    monkeypatch.setattr("local.tables.SQLiteTables.run", fail)
    for answer in (await here.operator.get(PATH), await here.operator.post(PATH, json={"name": "x"})):
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "storage_unavailable")
    assert await say(known)
    assert await say(here.openai(KEY))
    with pytest.raises(openai.InternalServerError) as refused:
        await say(unknown)
    assert refused.value.status_code == 503
    assert refused.value.response.headers["retry-after"] == "2"


async def test_openapi_describes_it(here: Instance) -> None:
    """Six operations with names of dashes, their bodies and answers."""
    schema = (await here.anyone.get("/openapi.json")).json()
    names = {
        operation["operationId"]
        for path, operations in schema["paths"].items()
        if path.startswith(PATH)
        for operation in operations.values()
    }
    assert names == {
        "list-subscriptions",
        "get-subscription",
        "create-subscription",
        "change-subscription",
        "rotate-subscription-key",
        "revoke-subscription",
    }
    assert "key_hashes" not in json.dumps(schema)


async def test_thousands_of_wrong_keys(here: Instance) -> None:
    """All are 401, and meanwhile others are served."""
    key = (await here.create("crm"))["keys"]["primary"]

    async def attack(start: int) -> set[int]:
        async with httpx2.AsyncClient(base_url=here.url) as client:
            numbers = range(start, start + 500)
            return {
                (await client.get("/openai/v1/models", headers={"api-key": f"sk-{n}"})).status_code for n in numbers
            }

    attacks = [asyncio.create_task(attack(start)) for start in range(0, 2_000, 500)]
    client = here.openai(key)
    for _ in range(5):
        assert await say(client)
    assert set().union(*await asyncio.gather(*attacks)) == {401}
