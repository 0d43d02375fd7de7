"""Callbacks: what is sent, what counts as delivered, and when it is tried again."""

import base64
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from enrichment.jobs.deliveries import JOB, SIGNATURE, signature
from enrichment.jobs.errors import CallbackRefused
from enrichment.jobs.job import Job, JobName
from enrichment.jobs.outbound import AddressForbidden, Answer, Request, Unreachable
from enrichment.jobs.work import WorkRefused
from tests.enrichment.jobs.parts import CALLBACK, RESULT, TICKET, Parts, order

NAME = JobName("team-a", "one")
NOTES = {
    "url": "https://sn.example.com/api/now/table/incident",
    "kind": "work-notes",
    "auth": {"kind": "basic", "secret": "setting:SN"},
}
OK = Answer(200, {}, b"{}")


async def finished(parts: Parts, callback: dict[str, Any]) -> Job:
    await parts.desk.submit(order(callback=callback))
    await parts.runner.run(NAME)
    return await parts.job(NAME)


async def passed(parts: Parts, **length: float) -> Job:
    """Let time go by in steps, with a sweep at each."""
    end = parts.clock.now() + timedelta(**length)
    while parts.clock.now() < end:
        due = (await parts.job(NAME)).delivery.due
        parts.clock.at = min(end, max(due, parts.clock.now() + timedelta(seconds=1))) if due else end
        await parts.sweep.run()
    return await parts.job(NAME)


async def test_a_result_is_signed(parts: Parts) -> None:
    """The host gets the job as its owner would see it, named and signed."""
    job = await finished(parts, CALLBACK)
    [request] = parts.network.requests
    assert (request.method, request.url) == ("POST", CALLBACK["url"])
    assert json.loads(request.body) == {"id": "one", "status": "succeeded", "result": RESULT}
    assert request.headers[JOB] == "one"
    seconds = int(parts.clock.now().timestamp())
    assert request.headers[SIGNATURE] == f"t={seconds},v1={signature(b'k', seconds, request.body)}"
    assert job.delivery.status == "delivered"
    told = await parts.desk.show(NAME)
    assert told is not None
    assert told["callback"] == {"status": "delivered", "attempts": 1, "error": ""}


async def test_a_failed_job_is_told(parts: Parts) -> None:
    """A job that failed is told with its error."""

    async def fail(*_: object) -> Any:
        raise WorkRefused("subscription_unknown", "gone")

    parts.work.do = fail
    await finished(parts, CALLBACK)
    assert json.loads(parts.network.requests[0].body) == {
        "id": "one",
        "status": "failed",
        "error": {"code": "subscription_unknown", "message": "gone"},
    }


@pytest.mark.parametrize(
    "failure",
    [Answer(status, {}, b"") for status in (401, 403, 408, 425, 429, 500, 503)] + [Unreachable("no connection")],
)
async def test_what_passes_is_repeated(parts: Parts, failure: Answer | Exception) -> None:
    """A failure that may pass is repeated with the same id until it is delivered."""
    parts.network.answers = [failure, failure]
    assert (await finished(parts, CALLBACK)).delivery.status == "pending"
    assert (await passed(parts, minutes=1)).delivery.status == "delivered"
    assert {request.headers[JOB] for request in parts.network.requests} == {"one"}
    assert len(parts.network.requests) == 3


@pytest.mark.parametrize(
    "failure",
    [Answer(status, {"location": "http://127.0.0.1/"}, b"") for status in (301, 302, 307, 400, 404, 410, 422)]
    + [AddressForbidden("desk.example.com leads to an address that is not public")],
)
async def test_what_lasts_is_not(parts: Parts, failure: Answer | Exception) -> None:
    """What no other attempt would mend ends the delivery, redirects and forbidden addresses among it."""
    parts.network.answers = [failure]
    job = await finished(parts, CALLBACK)
    assert (job.delivery.status, job.delivery.attempts) == ("failed", 1)
    assert job.delivery.error
    await passed(parts, hours=30)
    assert len(parts.network.requests) == 1


async def test_attempts_end(parts: Parts) -> None:
    """A host that never takes it is asked 12 times, with pauses that grow, over about a day."""
    parts.network.answers = [Unreachable("no connection")] * 99
    await finished(parts, CALLBACK)
    assert (await passed(parts, hours=20)).delivery.status == "pending"
    job = await passed(parts, hours=40)
    assert (job.delivery.status, job.delivery.attempts) == ("failed", 12)
    assert len(parts.network.requests) == 12


@pytest.mark.parametrize(("asked", "waits"), [("120", 120), ("Sat, 21 Nov 2026 08:03:00 GMT", 180), ("nonsense", 5)])
async def test_retry_after(parts: Parts, asked: str, waits: int) -> None:
    """A host that says when to come back is believed, in bounds."""
    parts.network.answers = [Answer(429, {"retry-after": asked}, b"")]
    job = await finished(parts, CALLBACK)
    assert job.delivery.due == parts.clock.now() + timedelta(seconds=waits)


async def test_a_work_note(parts: Parts) -> None:
    """A work note is one PATCH of the incident, with the caller's credentials and without the suggested fields."""
    await finished(parts, NOTES)
    [request] = parts.network.requests
    assert (request.method, request.url) == ("PATCH", f"{NOTES['url']}/{TICKET['sys_id']}")
    assert request.headers["authorization"] == "Basic " + base64.b64encode(b"tollgate:secret").decode()
    body = json.loads(request.body)
    assert body.keys() == {"work_notes"}
    assert "VPN drops." in body["work_notes"]
    assert body["work_notes"].endswith("Tollgate job one")


async def test_a_work_note_with_its_patch(parts: Parts) -> None:
    """Where it is asked for, the suggested fields are written along."""
    await finished(parts, {**NOTES, "apply_patch": True})
    assert json.loads(parts.network.requests[0].body)["impact"] == "2"


@pytest.mark.parametrize("written", [True, False])
async def test_a_work_note_is_written_once(parts: Parts, *, written: bool) -> None:
    """Before a repetition the journal is read: a note that was written although its answer was lost stays alone."""
    journal = (
        "2026-11-21 08:00:00 - Tollgate (Work notes)\nIssue: VPN drops.\n\nTollgate job one\n\n" if written else ""
    )
    read = Answer(200, {}, json.dumps({"result": {"work_notes": journal}}).encode())
    parts.network.answers = [Unreachable("the answer was lost"), read, OK]
    await finished(parts, NOTES)
    job = await passed(parts, seconds=10)
    assert job.delivery.status == "delivered"
    assert [request.method for request in parts.network.requests] == ["PATCH", "GET"] + ["PATCH"] * (not written)


async def test_an_access_token(parts: Parts) -> None:
    """OAuth2 fetches a token once, keeps it until it expires or is refused, and sends it as a bearer."""
    token = Answer(200, {}, b'{"access_token": "tok", "expires_in": 1800}')
    callback = {**CALLBACK, "url": "https://sn.example.com/hook", "auth": {"kind": "oauth2", "secret": "setting:OAUTH"}}
    parts.network.answers = [token, Answer(401, {}, b""), token, OK]
    await finished(parts, callback)
    await passed(parts, seconds=10)
    urls = [request.url.rpartition("/")[2] for request in parts.network.requests]
    assert urls == ["oauth_token.do", "hook", "oauth_token.do", "hook"]
    asked = parts.network.requests[0]
    assert asked.body == b"grant_type=client_credentials&client_id=c&client_secret=s"
    assert parts.network.requests[1].headers["authorization"] == "Bearer tok"


@pytest.mark.parametrize("answer", [b"", b"[]", b"{}", b'{"access_token": "a\\nb"}', b'{"access_token": null}'])
async def test_a_token_endpoint_that_talks_nonsense(parts: Parts, answer: bytes) -> None:
    """A token that is none counts as a failure that may pass, and what was said is not repeated."""
    callback = {**CALLBACK, "url": "https://sn.example.com/hook", "auth": {"kind": "oauth2", "secret": "setting:OAUTH"}}
    parts.network.answers = [Answer(200, {}, answer)]
    job = await finished(parts, callback)
    assert job.delivery.status == "pending"
    assert len(parts.network.requests) == 1


async def test_an_api_key(parts: Parts) -> None:
    """An API key goes into its header."""
    await finished(parts, {**CALLBACK, "auth": {"kind": "api-key", "secret": "setting:KEY"}})
    assert parts.network.requests[0].headers["x-api-key"] == "k-1"


@pytest.mark.parametrize(
    "callback",
    [
        {"url": "https://evil.example.net/"},
        {"url": "http://desk.example.com/"},
        {**CALLBACK, "auth": {"kind": "basic", "secret": "setting:SN"}},
        {**CALLBACK, "auth": {"kind": "basic", "secret": "setting:PATH"}},
        {**NOTES, "url": "https://sn.example.com/api/now/table/incident?x=1"},
    ],
)
async def test_refused_before_anything_is_kept(parts: Parts, callback: dict[str, Any]) -> None:
    """A callback that may not be sent is refused before there is a job."""
    with pytest.raises(CallbackRefused):
        await parts.desk.submit(order(callback=callback))
    assert await parts.store.get(NAME) is None


async def test_work_notes_need_a_record(parts: Parts) -> None:
    """Work notes without a sys_id that is one are refused: it becomes a part of the URL."""
    for sys_id in ("", "../../sys_user/x", "0123456789abcdef0123456789abcde"):
        ticket = {"short_description": "x", "sys_id": sys_id}
        with pytest.raises(CallbackRefused, match="sys_id"):
            await parts.desk.submit(order(callback=NOTES, ticket=ticket))


async def test_a_mangled_callback(parts: Parts) -> None:
    """A callback that cannot be read any more ends as failed, and its job stays as it is."""
    await parts.desk.submit(order(callback=CALLBACK))
    await parts.store.change(replace(await parts.job(NAME), callback="{"))
    await parts.runner.run(NAME)
    job = await parts.job(NAME)
    assert (job.status, job.delivery.status) == ("succeeded", "failed")


async def test_no_secret_is_kept(parts: Parts) -> None:
    """Neither rows nor requests' representations hold a secret."""
    await finished(parts, NOTES)
    async for row in (await parts.tables.table("jobs")).query():
        assert "tollgate:secret" not in str(row.values)
    assert "Basic" not in repr(Request("GET", "https://x", {"authorization": "Basic x"}))
