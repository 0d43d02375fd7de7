"""Dead letters over HTTP: operators alone, bounded, refused by name."""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI

from chargeback.deadletters import deadletter_routes
from chargeback.deadletters.deadletter_routes import router
from chargeback.deadletters.requeueing import DeadLetters
from chargeback.errors import ChargebackError
from chargeback.ledger.ledger import Ledger
from chargeback.prices import Prices
from gateway.usage import encode
from local.events.events import LocalStream
from seams.clock import SystemClock
from seams.tables import Tables
from tests.chargeback.readers import OPERATOR, in_openai_shape, reader_of
from tests.chargeback.staging import Deliver, MakeEvent, incarnation

PATH = "/chargeback/deadletters"


@pytest.fixture
async def http(tables: Tables, tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    """A client with an operator's key."""
    stream = LocalStream(tmp_path / "hub.sqlite")
    app = FastAPI(exception_handlers={ChargebackError: in_openai_shape})
    app.include_router(router(DeadLetters(tables, stream, SystemClock()), reader_of))
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://tollgate", headers=OPERATOR) as http:
        yield http
    await stream.close()


@pytest.fixture
async def ids(tables: Tables, prices: Prices, deliver: Deliver, http: httpx2.AsyncClient) -> list[str]:
    """Three dead letters: text, bytes, and one whose end was not kept."""
    bodies = [b'{"id": 1}', b"\xff\x00", b"x" * 700_000]
    await Ledger(tables, prices, incarnation).collect([deliver(body, n) for n, body in enumerate(bodies)])
    found = (await http.get(PATH)).json()["dead_letters"]
    return [one["id"] for one in sorted(found, key=lambda one: one["sequence_number"])]


async def test_listing_tells_why_and_where(http: httpx2.AsyncClient, ids: list[str]) -> None:
    """Each entry has its reason, its place in the stream and its size, and no body."""
    page = (await http.get(PATH)).json()
    (text,) = [one for one in page["dead_letters"] if one["id"] == ids[0]]
    assert page["next"] is None
    assert text.pop("reason").startswith("ValidationError")
    assert text == {
        "id": ids[0],
        "incarnation": "2026-11-01T00:00:00Z",
        "partition": "0",
        "sequence_number": 0,
        "enqueued_at": "2026-11-20T12:00:00Z",
        "size": 9,
        "truncated": False,
        "requeues": [],
    }


async def test_pages(http: httpx2.AsyncClient, ids: list[str]) -> None:
    """`next` leads through all of them, one by one."""
    seen: list[str] = []
    after: str | None = ""
    while after is not None:
        page = (await http.get(PATH, params={"limit": 1, "after": after})).json()
        seen += [one["id"] for one in page["dead_letters"]]
        after = page["next"]
    assert sorted(seen) == sorted(ids)


async def test_a_body_is_shown_as_text_or_base64(http: httpx2.AsyncClient, ids: list[str]) -> None:
    """What is text is shown as such; of a long one there is what was kept."""
    text, raw, long = [(await http.get(f"{PATH}/{one}")).json() for one in ids]
    assert (text["encoding"], text["body"]) == ("utf-8", '{"id": 1}')
    assert (raw["encoding"], base64.b64decode(raw["body"])) == ("base64", b"\xff\x00")
    assert (long["dead_letter"]["truncated"], long["dead_letter"]["size"], len(long["body"])) == (
        True,
        700_000,
        655_360,
    )


async def test_requeue_mended(http: httpx2.AsyncClient, ids: list[str], make_event: MakeEvent) -> None:
    """The answer says when and by whom; a list of those that wait has it no more."""
    answer = await http.post(f"{PATH}/{ids[0]}/requeue", content=encode(make_event()))
    assert answer.status_code == 200
    (requeue,) = answer.json()["requeues"]
    assert (requeue["by"], requeue["mended"]) == ("operator-1", True)
    waiting = (await http.get(PATH, params={"waiting": "true"})).json()["dead_letters"]
    assert sorted(one["id"] for one in waiting) == sorted(ids[1:])


async def test_refusals_to_requeue(http: httpx2.AsyncClient, ids: list[str]) -> None:
    """Each has its status and its code; force goes past those that a person may overrule."""
    answers = [
        await http.post(f"{PATH}/{ids[0]}/requeue"),
        await http.post(f"{PATH}/{ids[0]}/requeue", params={"force": "true"}),
        await http.post(f"{PATH}/{ids[0]}/requeue"),
        await http.post(f"{PATH}/{ids[2]}/requeue", params={"force": "true"}),
        await http.post(f"{PATH}/{ids[1]}/requeue", content=b"x" * 1_000_001),
        await http.post(f"{PATH}/nothing/requeue"),
        await http.get(f"{PATH}/nothing"),
        await http.get(PATH, params={"after": "nothing"}),
    ]
    codes = [(answer.status_code, answer.json().get("error", {}).get("code")) for answer in answers]
    assert codes == [
        (422, "event_impossible"),
        (200, None),
        (409, "already_requeued"),
        (409, "dead_letter_truncated"),
        (413, "request_too_large"),
        (404, "dead_letter_not_found"),
        (404, "dead_letter_not_found"),
        (404, "dead_letter_not_found"),
    ]


@pytest.mark.parametrize(
    "params", [{"limit": 0}, {"limit": 1001}, {"limit": "x"}, {"after": "x" * 101}, {"waiting": "?"}]
)
async def test_bad_questions(http: httpx2.AsyncClient, params: dict[str, str | int]) -> None:
    """Bounds of the parameters are kept."""
    assert (await http.get(PATH, params=params)).status_code == 422


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("GET", "/x"), ("POST", "/x/requeue")])
async def test_operators_only(http: httpx2.AsyncClient, method: str, path: str) -> None:
    """A subscription's key is refused before anything is read, and no key before that."""
    refused = await http.request(method, PATH + path, headers={"api-key": "service-desk"})
    unknown = await http.request(method, PATH + path, headers={"api-key": ""})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "permission_denied")
    assert unknown.status_code == 401


async def test_a_slow_body(http: httpx2.AsyncClient, ids: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A mended event that does not arrive in time is refused as such, and nothing is published."""
    monkeypatch.setattr(deadletter_routes, "BODY_SECONDS", 0.05)

    async def trickle() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(30)

    async with asyncio.timeout(20):
        answer = await http.post(f"{PATH}/{ids[0]}/requeue", content=trickle())
    assert (answer.status_code, answer.json()["error"]["code"]) == (408, "request_timeout")
    waiting = (await http.get(PATH, params={"waiting": "true"})).json()["dead_letters"]
    assert len(waiting) == 3
