"""POST /jobs, GET /jobs/{id} and POST /enrich with jobs behind it, on a real server."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import openai
import pytest
from fastapi import FastAPI, Request
from openapi_spec_validator import validate

from enrichment.caller import TicketCaller
from enrichment.enricher import Enricher, EnricherRules
from enrichment.jobs import routes as job_routes
from enrichment.jobs.enriching import Answering
from enrichment.jobs.job import JobName
from enrichment.jobs.made import Made
from enrichment.routes import router
from hosting.services.models import Models
from hosting.web.error_answers import add_error_handlers
from seams.tables import TableUnavailable
from tests.enrichment.fake_gateway import PATIENCE_SECONDS, FakeGateway, PerToken, completion, says
from tests.enrichment.jobs.parts import CALLBACK, NOISE, RESULT, TICKET, Parts, half
from tests.served import served

BODY: dict[str, Any] = {"ticket": TICKET, "tasks": ["summary"]}
SUMMARY = {
    "issue": [{"sentence": "VPN drops.", "entries": ["short_description"]}],
    "actions_taken": [],
    "resolution": [],
}
KEYED = BODY | {"ticket": TICKET | {"sys_updated_on": "2026-11-21 08:00:00"}}


@pytest.fixture
def app(parts: Parts, gateway: FakeGateway) -> FastAPI:
    models = Models(gateway=gateway, timeout_seconds=PATIENCE_SECONDS, finish_seconds=PATIENCE_SECONDS)

    async def caller_of(request: Request) -> AsyncIterator[TicketCaller]:
        client: openai.AsyncOpenAI
        async with models.for_caller("anybody") as client:
            yield TicketCaller(request.headers.get("api-key", "team-a"), client)

    async def subscription_of(request: Request) -> str:
        return request.headers.get("api-key", "team-a")

    enricher = Enricher(EnricherRules(deployment="tickets-model"), PerToken())
    app = FastAPI()
    app.include_router(router(caller_of, enricher, Answering(parts.desk, parts.once, 60.0)))
    app.include_router(job_routes.router(subscription_of, parts.desk))
    add_error_handlers(app)
    return app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    async with (
        served(app) as base_url,
        httpx2.AsyncClient(base_url=base_url, timeout=PATIENCE_SECONDS, trust_env=False) as opened,
    ):
        yield opened


@pytest.fixture
def gateway() -> FakeGateway:
    return FakeGateway(says(completion(json.dumps(SUMMARY))))


async def test_a_job(client: httpx2.AsyncClient, parts: Parts) -> None:
    """A job is accepted with its place, which shows it to its owner until it is done, and to nobody else."""
    accepted = await client.post("/jobs", json=BODY | {"callback": CALLBACK})
    assert (accepted.status_code, accepted.headers["retry-after"]) == (202, "5")
    told = accepted.json()
    assert told == {"id": accepted.headers["location"].removeprefix("/jobs/"), "status": "queued"}
    place = accepted.headers["location"]
    waiting = await client.get(place)
    assert waiting.json() == told | {"callback": {"status": "waiting", "attempts": 0, "error": ""}}
    assert waiting.headers["retry-after"] == "5"
    assert parts.hub.names() == [told["id"]]
    await parts.runner.run(JobName("team-a", told["id"]))
    done = await client.get(place)
    assert "retry-after" not in done.headers
    assert done.json()["result"] == RESULT
    assert done.json()["callback"]["status"] == "delivered"
    assert (await client.get(place, headers={"api-key": "team-b"})).status_code == 404


async def test_the_same_order(client: httpx2.AsyncClient, parts: Parts) -> None:
    """The same order under one key is one job, whatever its fields' order; another one is refused; so by the ticket."""
    headers = {"idempotency-key": "k-1"}
    first = await client.post("/jobs", json=BODY, headers=headers)
    again = await client.post("/jobs", json=dict(reversed(BODY.items())), headers=headers)
    assert first.json()["id"] == again.json()["id"]
    other = await client.post("/jobs", json=BODY | {"callback": CALLBACK}, headers=headers)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_mismatch")
    keyed = [(await client.post("/jobs", json=KEYED)).json()["id"] for _ in range(2)]
    assert keyed[0] == keyed[1] != first.json()["id"]
    unkeyed = [(await client.post("/jobs", json=BODY)).json()["id"] for _ in range(2)]
    assert unkeyed[0] != unkeyed[1]
    theirs = await client.post("/jobs", json=BODY | {"callback": None}, headers=headers | {"api-key": "team-b"})
    assert theirs.status_code == 202
    assert len({(each["subscription"], each["job"]) for each in map(json.loads, parts.hub.bodies)}) == 5


async def test_a_place_is_named_as_in_the_body(client: httpx2.AsyncClient) -> None:
    """The field that is wrong is told by the names that the sender knows, not by those of our types."""
    answer = await client.post("/jobs", json=BODY | {"callback": CALLBACK | {"auth": {"kind": "magic"}}})
    assert answer.json()["error"]["param"] == "callback.auth.kind"


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"ticket": {}}, 422, "invalid_request"),
        ({"tasks": ["dance"]}, 422, "invalid_request"),
        ({"surprise": 1}, 422, "invalid_request"),
        ({"callback": {"url": "https://evil.example.net/"}}, 422, "callback_refused"),
        ({"callback": {"url": "https://169.254.169.254/"}}, 422, "callback_refused"),
        ({"callback": {"url": "https://desk.example.com@127.0.0.1/"}}, 422, "callback_refused"),
        ({"callback": {}}, 422, "invalid_request"),
        ({"callback": CALLBACK | {"auth": {"kind": "basic"}}}, 422, "invalid_request"),
        ({"callback": CALLBACK | {"auth": {"kind": "basic", "secret": "user:password"}}}, 422, "invalid_request"),
        ({"callback": CALLBACK | {"auth": {"kind": "basic", "secret": "setting:PATH"}}}, 422, "callback_refused"),
        ({"callback": CALLBACK | {"auth": {"kind": "magic"}}}, 422, "invalid_request"),
        ({"callback": CALLBACK | {"headers": {"x": "y"}}}, 422, "invalid_request"),
        ({"ticket": {"short_description": "x", "u_blob": NOISE}}, 413, "request_too_large"),
    ],
)
async def test_bad_orders(
    client: httpx2.AsyncClient, parts: Parts, change: dict[str, Any], status: int, code: str
) -> None:
    """What is no order is refused with its reason, and no job is made of it."""
    answer = await client.post("/jobs", json=BODY | change)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert not parts.hub.bodies
    assert "password" not in answer.text


@pytest.mark.parametrize("header", ["x" * 256, "with space", "\x7f"])
async def test_keys_that_are_none(client: httpx2.AsyncClient, header: str) -> None:
    """A key that is too long or not printable is refused, on both routes."""
    for path in ("/jobs", "/enrich"):
        answer = await client.post(path, json=BODY, headers={"idempotency-key": header})
        assert answer.status_code in (400, 422)


@pytest.mark.parametrize("job_id", ["nothing", "..%2F..", "a|b", "x" * 101, "%00", "\u00fc"])
async def test_jobs_that_are_not_there(client: httpx2.AsyncClient, job_id: str) -> None:
    """An id that nobody has, or that cannot be one, is not found."""
    answer = await client.get(f"/jobs/{job_id}")
    assert answer.status_code in (404, 422)


async def test_enriched_once(client: httpx2.AsyncClient, gateway: FakeGateway) -> None:
    """The same ticket again is answered without a call of a model, and says so."""
    first = await client.post("/enrich", json=KEYED)
    again = await client.post("/enrich", json=KEYED)
    assert first.json()["summary"]["issue"] == "VPN drops."
    assert (again.status_code, again.content) == (200, first.content)
    assert (first.headers.get("idempotency-replayed"), again.headers["idempotency-replayed"]) == (None, "true")
    assert len(gateway.requests) == 1
    other = await client.post("/enrich", json=KEYED | {"output_language": "de"})
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_mismatch")


async def test_completed_by_asking_again(client: httpx2.AsyncClient, gateway: FakeGateway) -> None:
    """A task that met a limit says when to ask again; then it alone is done, and the whole is what is kept."""
    limited = says({"error": {"message": "later", "code": "rate_limit_exceeded"}}, 429, [(b"retry-after", b"7")])
    gateway.reply, gateway.answers = None, {"summary": SUMMARY, "reply": limited}
    both = KEYED | {"tasks": ["summary", "reply"]}
    first = await client.post("/enrich", json=both)
    assert first.status_code == 200
    assert first.json()["tasks"][1]["error"] == {"code": "rate_limit_exceeded", "message": "later", "retry_after": 7}
    gateway.answers["reply"] = {"entries": ["short_description"], "text": "We look into it."}
    second = await client.post("/enrich", json=both)
    third = await client.post("/enrich", json=both)
    assert [task["status"] for task in second.json()["tasks"]] == ["succeeded", "succeeded"]
    assert [each.headers.get("idempotency-replayed") for each in (second, third)] == [None, "true"]
    assert third.content == second.content
    assert (len(gateway.asked_of("summary")), len(gateway.asked_of("reply"))) == (1, 2)


async def test_a_job_completed_by_asking_again(client: httpx2.AsyncClient, parts: Parts) -> None:
    """A job some of whose tasks may yet be done is run anew with what it has, when it is asked for again."""

    async def partly(*_: object) -> Made:
        return Made(half("timeout"), lasting=True)

    parts.work.do = partly
    name = JobName("team-a", (await client.post("/jobs", json=KEYED)).json()["id"])
    await parts.runner.run(name)
    assert (await client.post("/jobs", json=KEYED)).json() == {"id": name.id, "status": "queued"}
    parts.work.do = None
    await parts.runner.run(name)
    assert parts.work.resumed == [None, half("timeout")]
    assert (await client.post("/jobs", json=KEYED)).json() == {"id": name.id, "status": "succeeded"}
    assert (await client.get(f"/jobs/{name.id}")).json()["result"] == RESULT


async def test_without_a_key(client: httpx2.AsyncClient, gateway: FakeGateway, parts: Parts) -> None:
    """Without a key each request is answered anew, and no row is written."""
    for mode in ("auto", "sync"):
        assert (await client.post("/enrich", json=BODY | {"mode": mode})).status_code == 200
    assert len(gateway.requests) == 2
    assert [row async for row in (await parts.tables.table("jobs")).query()] == []


@pytest.mark.parametrize("mode", ["auto", "sync"])
async def test_silent_tables(
    client: httpx2.AsyncClient, parts: Parts, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """While the tables are silent a ticket is answered all the same, but not under a key that its caller insists on."""

    async def silent(*_: object) -> None:
        raise TableUnavailable("silent")

    monkeypatch.setattr(parts.store, "get", silent)
    assert (await client.post("/enrich", json=KEYED | {"mode": mode})).status_code == 200
    refused = await client.post("/enrich", json=KEYED | {"mode": mode}, headers={"idempotency-key": "k"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "storage_unavailable")


async def test_an_answer_that_cannot_be_kept(
    client: httpx2.AsyncClient, parts: Parts, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that was made is given, although the tables fall silent before it is kept."""

    async def silent(*_: object) -> None:
        raise TableUnavailable("silent")

    monkeypatch.setattr(parts.store, "finish", silent)
    answer = await client.post("/enrich", json=KEYED, headers={"idempotency-key": "k"})
    assert answer.status_code == 200
    assert len(gateway.requests) == 1


async def test_enriched_later(client: httpx2.AsyncClient, gateway: FakeGateway, parts: Parts) -> None:
    """With mode async a job is made at once; the same request again is the same job."""
    answers = [await client.post("/enrich", json=KEYED | {"mode": "async"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].headers["location"] == answers[1].headers["location"]
    assert not gateway.requests
    await parts.runner.run(JobName("team-a", answers[0].json()["id"]))
    assert (await client.get(answers[0].headers["location"])).json()["status"] == "succeeded"


async def test_errors_are_not_kept(client: httpx2.AsyncClient, gateway: FakeGateway) -> None:
    """A refusal of the gateway is passed on with its headers, and the next request tries anew."""
    good, gateway.reply = gateway.reply, says({"error": {"message": "slow down"}}, 429, [(b"retry-after", b"7")])
    refused = await client.post("/enrich", json=KEYED)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "7")
    gateway.reply = good
    assert (await client.post("/enrich", json=KEYED)).status_code == 200


def test_the_description(app: FastAPI) -> None:
    """It is valid, names both operations, and describes each answer."""
    described = app.openapi()
    validate(described)
    post, get = described["paths"]["/jobs"]["post"], described["paths"]["/jobs/{id}"]["get"]
    assert (post["operationId"], get["operationId"]) == ("create-job", "get-job")
    assert set(post["responses"]) == {"202", "400", "401", "403", "408", "409", "413", "422", "503"}
    assert set(get["responses"]) >= {"200", "401", "403", "404", "503"}
    assert "anyOf" not in json.dumps([post, get, described["components"]["schemas"]["JobBody"]])
