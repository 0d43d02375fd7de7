"""`tollgate enrich` as a process of its own, against the running app and against one that says no."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hosting.commands.ticket_files import FileUnreadable, requests_in
from local.simulator.server import serve
from local.simulator.settings import BackendSettings, Deployment
from tests.clocks import ShiftedClock
from tests.gateway.catalogs import KEY, OPERATOR_KEY, UPSTREAM_KEY, key_hash
from tests.gateway.managed import running_instance
from tests.hosting.commands.ran import tollgate
from tests.served import served

SAMPLES = Path(__file__).parents[3] / "local" / "demo" / "tickets"
CHOICES = {"category": ["Network", "Hardware"]}
TICKET = {"number": "INC1", "short_description": "The network is down", "description": "Nobody can work."}
ANSWER: dict[str, Any] = {
    "suggestions": {},
    "patch": {},
    "tasks": [{"name": "summary", "status": "succeeded"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    "cost": None,
}


@pytest.fixture
async def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """The whole app in front of a simulated backend."""
    monkeypatch.setenv("STATE", str(tmp_path))
    monkeypatch.setenv("UPSTREAM_KEY", UPSTREAM_KEY)
    deployments = {"gpt-4o-mini": Deployment(model="gpt-4o-mini")}
    async with serve(BackendSettings(name="b", api_key=UPSTREAM_KEY, deployments=deployments)) as backend:
        catalog = {
            "backends": {"b": {"endpoint": backend.url, "auth": {"api_key": "setting:UPSTREAM_KEY"}}},
            "deployments": {"gpt-4o-mini": {"model": "gpt-4o-mini", "pool": [{"backend": "b"}]}},
            "subscriptions": {"desk": {"key_hashes": [key_hash(KEY)]}},
            "operators": {"key_hashes": [key_hash(OPERATOR_KEY)]},
        }
        async with running_instance(catalog, ShiftedClock()) as instance:
            yield instance.url


def written(folder: Path, content: object) -> str:
    file = folder / "given.json"
    file.write_text(json.dumps(content))
    return str(file)


async def test_one_ticket(url: str) -> None:
    """A ticket's suggestions, its summary and what it cost are shown to a person."""
    ran = await tollgate(url, "enrich", str(SAMPLES / "vpn-drops.json"), key=KEY)
    assert ran.code == 0, ran.err
    for shown in ("INC0041001", "category", "confidence", "Sentiment", "tokens", "USD at list prices"):
        assert shown in ran.out


async def test_one_ticket_for_programs(url: str, tmp_path: Path) -> None:
    """With --json the answer is printed as it came; options win over the file."""
    body = {"ticket": TICKET, "tasks": ["summary"], "choices": {"category": ["Software"]}}
    choices = tmp_path / "choices.json"
    choices.write_text(json.dumps(CHOICES))
    options = ("--task", "classification", "--choices", str(choices), "--language", "de", "--json")
    ran = await tollgate(url, "enrich", written(tmp_path, body), *options, key=KEY)
    assert ran.code == 0, ran.err
    assert [task["name"] for task in ran.json["tasks"]] == ["classification"]
    assert ran.json["suggestions"]["category"]["value"] in CHOICES["category"]
    assert ran.json["number"] == "INC1"


async def test_many_tickets(url: str, tmp_path: Path) -> None:
    """Many tickets are a line each, in the order in which they were given, from standard input too."""
    export = {"incidents": [TICKET | {"number": f"INC{number}"} for number in range(5)], "choices": CHOICES}
    ran = await tollgate(url, "enrich", "-", "--json", "--task", "classification", key=KEY, stdin=json.dumps(export))
    assert ran.code == 0, ran.err
    answers = [json.loads(line) for line in ran.out.splitlines()]
    assert [answer["number"] for answer in answers] == [f"INC{number}" for number in range(5)]
    assert all("category" in answer["suggestions"] for answer in answers)
    table = await tollgate(url, "enrich", written(tmp_path, export), "--task", "classification", key=KEY)
    assert "5 of 5 tickets" in table.out


async def test_each_run_asks_anew(url: str, tmp_path: Path) -> None:
    """The same ticket with other choices is answered with these, though ticket and tasks would make it the same job."""
    ticket = TICKET | {"sys_id": "9d385017c611228701d22104cc95c371", "sys_updated_on": "2026-11-21 08:00:00"}
    for category in ("Network", "Hardware"):
        body = {"ticket": ticket, "tasks": ["classification"], "choices": {"category": [category]}}
        ran = await tollgate(url, "enrich", written(tmp_path, body), "--json", key=KEY)
        assert ran.code == 0, ran.err


async def test_the_key_is_a_subscriptions(url: str, tmp_path: Path) -> None:
    """A wrong key and an operator's are refused with the reason; without a key nothing is asked."""
    file = written(tmp_path, TICKET)
    assert "Access denied" in (await tollgate(url, "enrich", file, key="wrong")).err
    refused = await tollgate(url, "enrich", file, key=OPERATOR_KEY)
    assert (refused.code, "operator key" in refused.err) == (1, True)
    missing = await tollgate(url, "enrich", file, key="")
    assert (missing.code, missing.out) == (2, "")
    assert "the key of a subscription" in " ".join(missing.err.split())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"number": "INC1"}, "neither short_description nor description"),
        ([], "holds no ticket"),
        ({"result": [TICKET, {"short_description": ""}]}, "number 2 has neither"),
        ([7], "number 1 has neither"),
    ],
)
async def test_files_that_are_none(tmp_path: Path, content: object, message: str) -> None:
    """A file without tickets is told before anything is asked."""
    ran = await tollgate("http://127.0.0.1:1", "enrich", written(tmp_path, content), key=KEY)
    assert (ran.code, ran.out) == (2, "")
    assert message in " ".join(ran.err.split())


@pytest.mark.parametrize(
    "content",
    [TICKET, [TICKET], {"result": TICKET}, {"result": [TICKET]}, {"ticket": TICKET}, {"incidents": [TICKET]}],
)
def test_forms_of_files(tmp_path: Path, content: object) -> None:
    """A ticket, an answer of the Table API, a list, an export and a request all hold the one ticket."""
    (found,) = requests_in(Path(written(tmp_path, content)))
    assert (found.name, found.body["ticket"]) == ("INC1", TICKET)


def test_a_file_that_is_not_json(tmp_path: Path) -> None:
    """What is no JSON is named; a ticket without a number goes by its file."""
    with pytest.raises(FileUnreadable, match=r"nothing\.json cannot be read"):
        requests_in(tmp_path / "nothing.json")
    assert requests_in(Path(written(tmp_path, {"description": "x"})))[0].name == "given 1"


async def test_come_back_and_job(tmp_path: Path) -> None:
    """A 429 is waited for as it says; a 202 is followed to the job's result."""
    asked: list[str] = []
    keys: set[str] = set()

    async def enrich(request: Request) -> Response:
        asked.append("enrich")
        keys.add(request.headers["idempotency-key"])
        if len(asked) == 1:
            error = {"code": "429", "message": "Slow down."}
            return JSONResponse({"error": error}, 429, headers={"retry-after": "0"})
        return JSONResponse({"id": "j", "status": "queued"}, 202, headers={"location": "/jobs/j", "retry-after": "0"})

    async def job(_: Request) -> Response:
        asked.append("job")
        done = asked.count("job") > 1
        return JSONResponse({"id": "j", "status": "succeeded" if done else "running", "result": ANSWER})

    app = Starlette(routes=[Route("/enrich", enrich, methods=["POST"]), Route("/jobs/j", job)])
    async with served(app) as url:
        ran = await tollgate(url, "enrich", written(tmp_path, TICKET), "--json", key=KEY)
    assert (ran.code, ran.json) == (0, ANSWER)
    assert asked == ["enrich", "enrich", "job", "job"]
    assert len(keys) == 1


async def test_one_of_many_fails(tmp_path: Path) -> None:
    """A refused ticket and one with a failed task are told, the others are answered, and the exit code says so."""

    async def enrich(request: Request) -> Response:
        number = (await request.json())["ticket"]["number"]
        failed = {"name": "reply", "status": "failed", "error": {"code": "refusal", "message": "It refused."}}
        warned = {"name": "summary", "status": "succeeded", "warnings": [{"code": "x", "message": "A part was cut."}]}
        match number:
            case "INC0":
                return JSONResponse({"error": {"code": "invalid_request", "message": "Too long."}}, 422)
            case "INC1":
                return JSONResponse(ANSWER | {"tasks": [failed, warned]})
            case _:
                return JSONResponse(ANSWER)

    async with served(Starlette(routes=[Route("/enrich", enrich, methods=["POST"])])) as url:
        file = written(tmp_path, [TICKET | {"number": f"INC{number}"} for number in range(3)])
        ran = await tollgate(url, "enrich", file, key=KEY)
        alone = await tollgate(url, "enrich", written(tmp_path, TICKET), key=KEY)
        assert alone.code == 1
        for shown in ("No suggestions.", "reply failed: It refused.", "summary: A part was cut.", "1 not priced"):
            assert shown in alone.out
    assert ran.code == 1
    assert "INC0: Too long." in ran.err
    assert "reply: refusal" in ran.out
    assert "2 of 3 tickets" in ran.out


async def test_something_else_at_the_address(tmp_path: Path) -> None:
    """An answer that is no enrichment, and an address where nobody is, are told as such."""

    async def other(_: Request) -> Response:
        return JSONResponse({"hello": "world"})

    async with served(Starlette(routes=[Route("/enrich", other, methods=["POST"])])) as url:
        ran = await tollgate(url, "enrich", written(tmp_path, TICKET), key=KEY)
    assert (ran.code, "is this Tollgate?" in ran.err) == (3, True)
    ran = await tollgate("http://127.0.0.1:1", "enrich", written(tmp_path, TICKET), key=KEY)
    assert (ran.code, "cannot be reached" in ran.err) == (3, True)
