"""POST /stream through uvicorn, the openai SDK and the in-process transport."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx2
import pytest

from tests.enrichment.fake_gateway import FINISHED, PATIENCE_SECONDS, FakeGateway, Script, delta, says, sse

QUESTION = {"input": "Why?"}


async def read(caller: httpx2.AsyncClient) -> list[tuple[str, str]]:
    """Return (event, data) of the whole stream."""
    return [(got.event, got.data) async for got in stream(caller)]


async def stream(caller: httpx2.AsyncClient) -> AsyncIterator[httpx2.ServerSentEvent]:
    async with caller.stream("POST", "/stream", json=QUESTION) as answer:
        assert answer.status_code == 200
        async for got in httpx2.EventSource(answer):
            yield got


async def test_pieces_and_the_end(gateway: FakeGateway, caller: httpx2.AsyncClient) -> None:
    """Each delta is one event, line feeds inside included, and [DONE] is the last."""
    opening = sse({"id": "", "object": "", "created": 0, "model": "", "choices": [], "prompt_filter_results": []})
    gateway.reply = Script([opening, delta("", role="assistant"), delta("Be"), delta("cause\n\n- it"), *FINISHED])
    assert await read(caller) == [("message", "Be"), ("message", "cause\n\n- it"), ("message", "[DONE]")]
    [(scope, body)] = gateway.requests
    assert scope["tollgate.caller"] == "service-desk"
    assert body == {"model": "tickets-model", "messages": [{"role": "user", "content": "Why?"}], "stream": True}


async def test_headers(gateway: FakeGateway, caller: httpx2.AsyncClient) -> None:
    """The answer is an event stream that nobody caches or buffers, and carries the gateway's request id."""
    gateway.reply = Script([delta("x"), *FINISHED])
    answer = await caller.post("/stream", json=QUESTION)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-request-id"] == "req-1"


async def test_each_piece_arrives_before_the_next_is_made(gateway: FakeGateway, caller: httpx2.AsyncClient) -> None:
    """The model writes its next piece only when the last one was read: nothing on the way holds pieces back."""
    gate = asyncio.Semaphore(1)
    gateway.reply = script = Script([delta(str(number)) for number in range(4)] + list(FINISHED), gate)
    async for got in stream(caller):
        script.log.append(f"read {got.data}")
        gate.release()
        if got.data == "3":
            gate.release()
    assert script.log[:8] == ["sent 0", "read 0", "sent 1", "read 1", "sent 2", "read 2", "sent 3", "read 3"]
    assert script.log[-1] == "read [DONE]"


async def test_a_caller_that_leaves_in_the_middle(gateway: FakeGateway, caller: httpx2.AsyncClient) -> None:
    """The gateway hears of the caller's leaving while the model still has more to say."""
    gateway.reply = script = Script([delta("a"), delta("b"), *FINISHED], asyncio.Semaphore(1))
    async with caller.stream("POST", "/stream", json=QUESTION) as answer:
        assert b"data: a" in await anext(answer.aiter_raw())
    async with asyncio.timeout(PATIENCE_SECONDS):
        await script.left.wait()
        await gateway.ended.wait()
    assert script.log == ["sent 0"]


async def test_a_caller_that_leaves_before_the_first_piece(gateway: FakeGateway, caller: httpx2.AsyncClient) -> None:
    """Also while the model is still thinking."""
    gateway.reply = script = Script([delta("a")], asyncio.Semaphore(0))
    asking = asyncio.create_task(caller.post("/stream", json=QUESTION))
    async with asyncio.timeout(PATIENCE_SECONDS):
        await gateway.asked.wait()
        asking.cancel()
        await script.left.wait()
        await gateway.ended.wait()


async def test_an_error_before_the_first_piece_has_its_status(gateway: FakeGateway, caller: httpx2.AsyncClient) -> None:
    """A refused call is an HTTP error with the gateway's status and Retry-After, not a stream."""
    error = {
        "error": {"message": "slow down", "type": "rate_limit_error", "param": None, "code": "rate_limit_exceeded"}
    }
    gateway.reply = says(error, 429, [(b"retry-after", b"3")])
    answer = await caller.post("/stream", json=QUESTION)
    assert (answer.status_code, answer.headers["retry-after"], answer.json()) == (429, "3", error)


@pytest.mark.parametrize(
    ("chunks", "status", "code"),
    [
        ([delta(refusal="I will not.")], 422, "refusal"),
        ([delta(finish_reason="content_filter")], 422, "content_filter"),
        ([sse({"error": {"message": "cut", "code": "stalled"}})], 502, "stalled"),
        ([b"data: {broken\n\n"], 502, "bad_gateway"),
        ([], 502, "bad_gateway"),
    ],
)
async def test_a_stream_that_fails_before_its_first_piece(
    gateway: FakeGateway, caller: httpx2.AsyncClient, chunks: list[bytes], status: int, code: str
) -> None:
    """Failures inside the gateway's stream, too, are HTTP errors as long as nothing was sent."""
    gateway.reply = Script(chunks)
    answer = await caller.post("/stream", json=QUESTION)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


@pytest.mark.parametrize(
    ("after", "code"),
    [
        ([sse({"error": {"message": "cut", "code": "stalled"}})], "stalled"),
        ([delta(finish_reason="length"), b"data: [DONE]\n\n"], "length"),
        ([delta(finish_reason="content_filter"), b"data: [DONE]\n\n"], "content_filter"),
        ([b"data: {broken\n\n"], "bad_gateway"),
        ([], "bad_gateway"),
    ],
)
async def test_an_error_after_the_first_piece(
    gateway: FakeGateway, caller: httpx2.AsyncClient, after: list[bytes], code: str
) -> None:
    """What fails later is one error event, and no [DONE] follows."""
    gateway.reply = Script([delta("a"), *after])
    first, (kind, told) = await read(caller)
    assert first == ("message", "a")
    assert (kind, json.loads(told)["error"]["code"]) == ("error", code)


async def test_an_empty_answer_is_just_the_end(gateway: FakeGateway, caller: httpx2.AsyncClient) -> None:
    """A model that stops without a word has answered."""
    gateway.reply = Script(FINISHED)
    assert await read(caller) == [("message", "[DONE]")]


async def test_the_end_does_not_wait_for_the_gateways_bookkeeping(
    gateway: FakeGateway, caller: httpx2.AsyncClient
) -> None:
    """[DONE] reaches the caller before the gateway's usage event is acknowledged."""
    acknowledged = asyncio.Event()
    script = Script([delta("a"), *FINISHED])

    async def reply(receive: object, send: object) -> None:
        await script(receive, send)  # type: ignore[arg-type]  # passed through as they came
        await acknowledged.wait()

    gateway.reply = reply
    got = [got.data async for got in stream(caller) if got.data == "[DONE]" and not gateway.ended.is_set()]
    assert got == ["[DONE]"]
    acknowledged.set()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await gateway.ended.wait()
