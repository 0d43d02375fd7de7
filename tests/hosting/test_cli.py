"""The command `tollgate` as a process of its own, against the running app."""

import asyncio
import json
import os
import pty
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hosting.cli import build
from tests.clocks import ShiftedClock
from tests.gateway.catalogs import KEY, OPERATOR_KEY, key_hash
from tests.gateway.managed import Instance, running_instance
from tests.hosting.commands.ran import COMMAND, SECONDS, Ran, tollgate
from tests.served import served

CATALOG = {
    "backends": {"b": {"endpoint": "https://b.openai.azure.com", "auth": "caller"}},
    "deployments": {"gpt-4o": {"model": "gpt-4o", "pool": [{"backend": "b"}]}},
    "subscriptions": {"team-a": {"key_hashes": [key_hash(KEY)], "budget": {"amount": "5", "per": "day"}}},
    "operators": {"key_hashes": [key_hash(OPERATOR_KEY)]},
}
KEY_LINE = re.compile(r"^(primary|secondary) key: (tg_[A-Za-z0-9_-]{49})$", re.MULTILINE)


@pytest.fixture
async def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Instance]:
    monkeypatch.setenv("STATE", str(tmp_path))
    async with running_instance(CATALOG, ShiftedClock()) as instance:
        yield instance


async def subscriptions(app: Instance, *arguments: str, stdin: str = "") -> Ran:
    return await tollgate(app.url, "subscriptions", *arguments, stdin=stdin)


async def models_with(app: Instance, key: str) -> int:
    return (await app.anyone.get("/openai/v1/models", headers={"api-key": key})).status_code


async def test_a_life(app: Instance) -> None:
    """Created with options, listed, changed, rotated, revoked: what a person sees, and what the keys then do."""
    created = await subscriptions(
        app,
        *("create", "crm", "--cost-centre", "4711", "--deployment", "gpt-4o", "--requests-per-minute", "60"),
        *("--quota", "5000/day", "--budget", "12.50USD/month", "--hard", "--identity", "oid:1"),
    )
    assert created.code == 0, created.err
    keys = dict(KEY_LINE.findall(created.out))
    assert set(keys) == {"primary", "secondary"}
    for shown in ("4711", "gpt-4o", "60 requests/min", "5000 tokens a day", "12.50 USD a month, hard", "oid:1"):
        assert shown in created.out
    assert [await models_with(app, key) for key in keys.values()] == [200, 200]

    listed = await subscriptions(app, "list")
    assert re.search(r"crm +table +4711 +gpt-4o", listed.out)
    assert re.search(r"team-a +catalog", listed.out)

    changed = await subscriptions(app, "change", "crm", "--concurrent", "3", "--clear", "quota", "--soft", "--json")
    assert changed.json["limits"] == {"requests_per_minute": 60, "tokens_per_minute": None, "concurrent": 3}
    assert (changed.json["quota"], changed.json["budget"]["hard"]) == (None, False)

    rotated = await subscriptions(app, "rotate", "crm", "secondary")
    ((slot, key),) = KEY_LINE.findall(rotated.out)
    assert slot == "secondary"
    assert [await models_with(app, each) for each in (keys["primary"], keys["secondary"], key)] == [200, 401, 200]

    assert (await subscriptions(app, "revoke", "crm", stdin="n\n")).code == 1
    assert await models_with(app, key) == 200
    revoked = await subscriptions(app, "revoke", "crm", "--yes")
    assert (revoked.code, revoked.out) == (0, "Revoked crm.\n")
    assert await models_with(app, key) == 401


async def test_cache_and_safety_by_options(app: Instance) -> None:
    """Everything that a subscription can have but its limits by deployment has an option; changes keep the rest."""
    created = await subscriptions(
        app,
        *("create", "crm", "--cache", "exact", "--cache-ttl", "60", "--cache-deployment", "gpt-4o"),
        *("--prompt-shield", "--fail", "open", "--log-prompts", "--show-personal-data", "--json"),
    )
    assert created.code == 0, created.err
    cache = created.json["cache"]
    assert (cache["kind"], cache["ttl_seconds"], cache["deployments"]) == ("exact", 60, ["gpt-4o"])
    assert created.json["safety"] == {"prompt_shield": True, "fail": "open"}
    assert created.json["log_prompts"] is True
    assert created.json["hide_personal_data"] is False
    shown = (await subscriptions(app, "show", "crm")).out
    assert re.search(r"cache +kind exact, ttl seconds 60, deployments gpt-4o, any temperature no", shown)
    assert re.search(r"safety +prompt shield yes, fail open", shown)
    changed = await subscriptions(app, "change", "crm", "--no-prompt-shield", "--clear", "cache", "--json")
    assert (changed.json["cache"], changed.json["safety"]) == (None, {"prompt_shield": False, "fail": "open"})


async def test_limits_by_deployment_are_shown(app: Instance) -> None:
    """A person sees what a file gave a deployment of its own."""
    fields = {"deployment_limits": {"gpt-4o": {"requests_per_minute": 6, "budget": {"amount": "9", "per": "day"}}}}
    assert (await subscriptions(app, "create", "crm", "--file", "-", stdin=json.dumps(fields))).code == 0
    shown = (await subscriptions(app, "show", "crm")).out
    assert re.search(r"deployment limits +gpt-4o: 6 requests/min, 9 USD a day", shown)


async def test_json_is_for_programs(app: Instance) -> None:
    """Every command prints one JSON document with --json, and takes fields from a file or standard input."""
    fields = {"cost_centre": "47", "limits": {"concurrent": 5}, "quota": {"tokens": 1, "per": "week"}}
    created = await subscriptions(
        app, "create", "crm", "--file", "-", "--concurrent", "6", "--json", stdin=json.dumps(fields)
    )
    assert set(created.json["keys"]) == {"primary", "secondary"}
    assert created.json["limits"]["concurrent"] == 6
    assert (created.json["cost_centre"], created.json["quota"]) == ("47", {"tokens": 1, "per": "week"})
    shown = await subscriptions(app, "show", "crm", "--json")
    assert shown.json == {name: value for name, value in created.json.items() if name != "keys"}
    assert [each["name"] for each in (await subscriptions(app, "list", "--json")).json] == ["crm", "team-a"]
    assert [each["name"] for each in (await subscriptions(app, "list", "--json", "--after", "crm")).json] == ["team-a"]
    assert list((await subscriptions(app, "rotate", "crm", "primary", "--json")).json["keys"]) == ["primary"]
    revoked = await subscriptions(app, "revoke", "crm", "--yes", "--json")
    assert revoked.json == {"name": "crm", "revoked": True}


async def test_a_list_that_is_cut_says_so(app: Instance) -> None:
    """With a limit the next name to go on from is on stderr."""
    for name in ("a", "b"):
        await app.create(name)
    listed = await subscriptions(app, "list", "--limit", "2")
    assert "team-a" not in listed.out
    assert "--after b" in listed.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["show", "nobody"], 1, "There is no subscription nobody."),
        (["create", "team-a"], 1, "The catalog has a subscription team-a"),
        (["create", "x", "--deployment", "gpt-9"], 1, "deployments: no deployment 'gpt-9'"),
        (["create", "x", "--budget", "5EUR/day"], 1, "a budget can be kept in USD only"),
        (["create", "x", "--cache", "semantic"], 1, "no deployment 'text-embedding-3-small'"),
        (["create", "x", "--hard"], 1, "budget.amount: is missing; budget.per: is missing"),
        (["show", "../../docs"], 1, "Error: "),
        (["change", "team-a", "--concurrent", "1"], 1, "is in the catalog"),
        (["change", "x"], 2, "Name a field to change."),
        (["create", "x", "--quota", "much"], 2, "TOKENS/PERIOD"),
        (["create", "x", "--budget", "-1/day"], 2, "AMOUNT/PERIOD"),
        (["create", "x", "--file", "nothing.json"], 2, "cannot be read as JSON"),
        (["rotate", "x", "tertiary"], 2, "tertiary"),
        (["list", "--url", "http://tollgate.example"], 2, "use https://"),
        (["list", "--url", "nonsense"], 2, "use https://"),
        (["list", "--url", "http://127.0.0.1:1"], 3, "cannot be reached"),
    ],
)
async def test_refusals(app: Instance, arguments: list[str], code: int, message: str) -> None:
    """Each kind of failure has its exit code and one plain message on stderr; stdout stays empty."""
    ran = await subscriptions(app, *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert message in " ".join(ran.err.split())


async def test_wrong_keys(app: Instance) -> None:
    """A key that is nobody's or no operator's is refused; without key and terminal nothing is asked."""
    assert "Access denied" in (await tollgate(app.url, "subscriptions", "list", key="wrong")).err
    assert "operator key" in (await tollgate(app.url, "subscriptions", "list", key=KEY)).err
    ran = await tollgate(app.url, "subscriptions", "list", key="")
    assert (ran.code, ran.out) == (2, "")
    assert "TOLLGATE_KEY" in ran.err


async def test_a_person_is_asked_for_the_key(app: Instance) -> None:
    """On a terminal the key is typed, and not shown."""
    controller, terminal = pty.openpty()
    environment = {**os.environ, "TOLLGATE_URL": app.url, "TOLLGATE_KEY": "", "COLUMNS": "200"}
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *("subscriptions", "list", "--json"),
        env=environment,
        stdin=terminal,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    answering = asyncio.create_task(process.communicate())
    try:
        async with asyncio.timeout(SECONDS):
            while not answering.done():
                # What is typed before the prompt is thrown away with the echo.
                os.write(controller, f"{OPERATOR_KEY}\n".encode())
                await asyncio.wait((answering,), timeout=0.2)
            out, err = await answering
    finally:
        os.close(terminal)
        os.close(controller)
    assert [each["name"] for each in json.loads(out)] == ["team-a"]
    assert OPERATOR_KEY.encode() not in out + err


@pytest.mark.parametrize(("status", "body"), [(200, b"<html>"), (200, b'{"detail": "x"}'), (502, b"[1]")])
async def test_something_else_at_the_address(status: int, body: bytes) -> None:
    """An answer that is not Tollgate's is told as such."""

    async def other(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": body})

    async with served(other) as url:
        ran = await tollgate(url, "subscriptions", "show", "crm", key="k")
    assert ran.code in (1, 3)
    assert "is this Tollgate?" in " ".join(ran.err.split())


@pytest.mark.parametrize("command", ["list", "show", "create", "change", "rotate", "revoke"])
def test_help_has_an_example(command: str) -> None:
    """Help needs neither key nor server, and shows how the command is used."""
    shown = CliRunner().invoke(build(), ["subscriptions", command, "--help"])
    assert shown.exit_code == 0
    assert f"Example: tollgate subscriptions {command}" in shown.output
