"""What is refused before a model is asked, and how."""

import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest

from enrichment.requests import intake
from tests.enrichment.fake_gateway import FakeGateway

JSON = {"content-type": "application/json"}


@pytest.mark.parametrize("path", ["/summarize", "/stream"])
@pytest.mark.parametrize("body", [b"{", b"\xff\xfe{}", b"[" * 200_000, b"nonsense"])
async def test_a_body_that_is_not_json(
    gateway: FakeGateway, caller: httpx2.AsyncClient, path: str, body: bytes
) -> None:
    """Broken, badly encoded or bottomless JSON is a 400 in OpenAI's shape."""
    answer = await caller.post(path, content=body, headers=JSON)
    assert answer.status_code == 400
    assert answer.json() == {
        "error": {
            "message": "The body is not JSON.",
            "type": "invalid_request_error",
            "param": None,
            "code": "invalid_json",
        }
    }
    assert not gateway.requests


@pytest.mark.parametrize(
    ("path", "body", "message", "param"),
    [
        ("/summarize", {}, "short_description or description must hold text", None),
        ("/summarize", {"description": 5}, "description: Input should be a valid string", "description"),
        ("/stream", {}, "input: Field required", "input"),
        ("/stream", {"input": " "}, "input: String should match pattern '\\S'", "input"),
        ("/stream", [], "Input should be an object", None),
        (
            "/summarize",
            {"description": "x" * 100_001},
            "description: String should have at most 100000 characters",
            "description",
        ),
        (
            "/summarize",
            {"description": "x", "impact": 3},
            "impact: Input should be a string or an object as the Table API has it",
            "impact",
        ),
        ("/summarize", {"description": "x", "comments": 7}, "comments: Input should be an array", "comments"),
    ],
)
async def test_a_body_that_is_not_what_the_route_takes(
    caller: httpx2.AsyncClient, path: str, body: object, message: str, param: str | None
) -> None:
    """The 422 names the field and the reason."""
    answer = await caller.post(path, json=body)
    assert answer.status_code == 422
    assert answer.json()["error"] == {
        "message": message,
        "type": "invalid_request_error",
        "param": param,
        "code": "invalid_request",
    }


async def test_what_was_sent_is_not_repeated(caller: httpx2.AsyncClient) -> None:
    """An error message holds nothing of the text, not even what cannot be encoded."""
    answer = await caller.post("/stream", content=b'{"input": "secret \\ud800"}', headers=JSON)
    assert answer.status_code == 422
    assert "secret" not in answer.text


async def test_a_body_that_announces_too_much(caller: httpx2.AsyncClient) -> None:
    """A body over the limit is a 413."""
    answer = await caller.post("/summarize", json={"description": "x" * 2_000_000})
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")


async def test_a_body_that_grows_too_much(caller: httpx2.AsyncClient) -> None:
    """A chunked body is refused as soon as it passes the limit."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 65_536

    answer = await caller.post("/stream", content=chunks(), headers=JSON)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")


async def test_a_body_that_does_not_come(caller: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that stops in the middle is a 408."""
    monkeypatch.setattr(intake, "BODY_SECONDS", 0.05)
    base = caller.base_url
    reader, writer = await asyncio.open_connection(base.host, base.port)
    writer.write(b"POST /stream HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    async with asyncio.timeout(30):
        status = await reader.readline()
    writer.close()
    await writer.wait_closed()
    assert status.split()[1] == b"408"
