"""Streams through the gateway: when pieces arrive, what a broken stream becomes, and what it costs."""

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import openai
import pytest

from local.simulator.faults import Cut, Malformed, Stall, Status, UsageMissing, UsageZero
from tests.served import served

HELLO: Any = [{"role": "user", "content": "The printer on floor three is on fire. Please send somebody quickly."}]
HEADERS = {"api-key": "sk-team-a"}
STREAM = {"model": "gpt-4o", "messages": HELLO, "stream": True}


def chunk(text: str, **fields: Any) -> bytes:
    body = {"choices": [{"delta": {"content": text}, "index": 0}], "model": "gpt-4o-2024-11-20", "usage": None}
    return b"data: " + json.dumps(body | fields).encode() + b"\n\n"


USAGE = chunk("", choices=[], usage={"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10})
DONE = b"data: [DONE]\n\n"


class ScriptedBackend:
    """Streams the pieces it is given, each after the event before it was set free."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces
        self.steps = [asyncio.Event() for _ in pieces]
        self.left = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        for step, piece in zip(self.steps, self.pieces, strict=True):
            if not await self._wait(step, receive):
                return
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _wait(self, step: asyncio.Event, receive: Any) -> bool:
        waiting = asyncio.create_task(step.wait())
        leaving = asyncio.create_task(receive())
        await asyncio.wait([waiting, leaving], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        leaving.cancel()
        if leaving.done() and not leaving.cancelled():
            self.left.set()
            return step.is_set()
        return True


def one_backend(url: str) -> dict[str, Any]:
    return {
        "backends": {"first": {"endpoint": url, "auth": {"api_key": "setting:UPSTREAM_KEY"}}},
        "deployments": {"gpt-4o": {"model": "gpt-4o", "pool": [{"backend": "first"}]}},
    }


async def pieces_of(answer: httpx2.Response) -> AsyncIterator[bytes]:
    async for piece in answer.aiter_raw():
        yield piece


async def test_each_chunk_arrives_when_it_was_made(gateway_with: Any) -> None:
    """The caller has a chunk before its backend has been allowed to make the next one."""
    backend = ScriptedBackend([chunk("a"), chunk("b"), chunk("c"), USAGE, DONE])
    async with served(backend) as url, gateway_with(**one_backend(url)) as gateway:
        backend.steps[0].set()
        async with (
            httpx2.AsyncClient(base_url=gateway.url, headers=HEADERS, timeout=5) as client,
            client.stream("POST", "/v1/chat/completions", json=STREAM) as answer,
        ):
            received = pieces_of(answer)
            for place in (0, 1, 2):
                assert await anext(received) == backend.pieces[place]
                backend.steps[place + 1].set()
            backend.steps[4].set()
            assert b"".join([piece async for piece in received]) == DONE
        (event,) = await gateway.settled(1)
        assert (event.meters.prompt_tokens, event.meters.completion_tokens) == (7, 3)


@pytest.mark.parametrize("size", [1, 7, 50, 1000])
async def test_splits_do_not_matter(gateway_with: Any, size: int) -> None:
    """However the backend's bytes are cut, the caller gets the same bytes without the usage chunk."""
    said = [chunk('quotes " and \\ and "usage": {'), chunk("é 日本"), USAGE, DONE]
    joined = b"".join(said)
    backend = ScriptedBackend([joined[start : start + size] for start in range(0, len(joined), size)])
    for step in backend.steps:
        step.set()
    async with served(backend) as url, gateway_with(**one_backend(url)) as gateway:
        async with httpx2.AsyncClient(base_url=gateway.url, headers=HEADERS, timeout=5) as client:
            answer = await client.post("/v1/chat/completions", json=STREAM)
        assert answer.content == b"".join([*said[:2], DONE])
        (event,) = await gateway.settled(1)
        assert (event.meters.prompt_tokens, event.meters.completion_tokens) == (7, 3)


@pytest.mark.parametrize("fault", [Cut(after_chunks=5), Cut(after_chunks=5, rst=True), Malformed(at_chunk=5)], ids=repr)
async def test_a_stream_that_breaks(gateway: Any, fault: Any) -> None:
    """It ends with one error event and no [DONE]; what was delivered is charged, and marked as our count."""
    await gateway.simulators["first"].inject(fault)
    async with httpx2.AsyncClient(base_url=gateway.url, headers=HEADERS, timeout=5) as client:
        answer = await client.post("/v1/chat/completions", json=STREAM)
    assert answer.headers["x-gateway-backend"] == "first"
    events = answer.text.removesuffix("\n\n").split("\n\n")
    assert json.loads(events[-1].removeprefix("data: "))["error"]["code"] == "upstream_error"
    assert sum('"error"' in event for event in events) == 1
    assert "[DONE]" not in answer.text
    (event,) = await gateway.settled(1)
    assert (event.outcome, event.estimated, event.model_version) == ("upstream_error", True, "2024-11-20")
    if isinstance(fault, Cut) and not fault.rst:
        billed = gateway.simulators["first"].invoice.usage()
        assert (event.meters.prompt_tokens, event.meters.completion_tokens) == (billed.prompt, billed.completion)


async def test_a_stalled_stream(gateway_with: Any) -> None:
    """Silence past the idle time-out ends the stream, and the SDK raises the error that it carries."""
    async with gateway_with(idle=0.3) as gateway:
        await gateway.simulators["first"].inject(Stall(after_chunks=4))
        stream = await gateway.azure().chat.completions.create(**STREAM)
        with pytest.raises(openai.APIError, match=r"silent for 0\.3 seconds"):
            [part async for part in stream]
        (event,) = await gateway.settled(1)
        assert event.outcome == "upstream_error"
        assert event.meters.completion_tokens > 0


async def test_a_responses_stream_that_breaks(gateway: Any) -> None:
    """A Responses stream without its final event is an error for the SDK, too."""
    await gateway.simulators["first"].inject(Cut(after_chunks=6))
    stream = await gateway.openai().responses.create(model="gpt-4o", input="Tell me about printers.", stream=True)
    with pytest.raises(openai.APIError, match="broke the stream off"):
        [part async for part in stream]
    (event,) = await gateway.settled(1)
    assert (event.outcome, event.estimated, event.operation) == ("upstream_error", True, "responses")


async def test_a_caller_that_leaves(gateway: Any) -> None:
    """Its upstream call is cancelled at once; what it got is charged as the backend bills it, marked estimated."""
    first = gateway.simulators["first"]
    await first.inject(Stall(after_chunks=6))
    stream = await gateway.azure().chat.completions.create(**STREAM)
    parts = [await anext(stream.__aiter__()) for _ in range(6)]
    began = time.monotonic()
    await stream.close()
    (event,) = await gateway.settled(1)
    assert time.monotonic() - began < 2
    assert (event.outcome, event.estimated) == ("client_closed", True)
    async with asyncio.timeout(30):
        while not first.invoice.lines:
            await asyncio.sleep(0.01)
    billed = first.invoice.usage()
    assert first.invoice.lines[-1].outcome == "client_left"
    assert (event.meters.prompt_tokens, event.meters.completion_tokens) == (billed.prompt, billed.completion)
    assert len(parts) == 6


@pytest.mark.parametrize("stream", [False, True])
async def test_usage_that_is_missing_or_zero(gateway: Any, stream: bool) -> None:
    """A missing usage is counted by us and marked; an explicit zero is zero."""
    first = gateway.simulators["first"]
    for fault in (UsageMissing(times=1), UsageZero(times=1)):
        await first.inject(fault)
        answer = await gateway.azure().chat.completions.create(**(STREAM | {"stream": stream}))
        if stream:
            [part async for part in answer]
    missing, zero = await gateway.settled(2)
    billed = first.invoice.usage()
    assert missing.estimated
    assert (missing.meters.prompt_tokens, missing.meters.completion_tokens) == (billed.prompt, billed.completion)
    assert (zero.estimated, zero.meters.prompt_tokens, zero.meters.completion_tokens) == (False, 0, 0)


async def test_old_api_versions_are_not_asked_for_usage(gateway: Any) -> None:
    """A version that refuses stream_options is left as it is; its streams are counted by us."""
    stream = await gateway.azure(api_version="2024-06-01").chat.completions.create(**STREAM)
    assert [part async for part in stream]
    (event,) = await gateway.settled(1)
    billed = gateway.simulators["first"].invoice.usage()
    assert (event.estimated, event.outcome) == (True, "completed")
    assert (event.meters.prompt_tokens, event.meters.completion_tokens) == (billed.prompt, billed.completion)


async def test_an_error_inside_a_stream(gateway_with: Any) -> None:
    """A backend's own error event is passed on once, and the stream counts as failed."""
    error = b'data: {"error": {"message": "overloaded", "code": "server_error"}}\n\n'
    backend = ScriptedBackend([chunk("a"), error])
    for step in backend.steps:
        step.set()
    async with served(backend) as url, gateway_with(**one_backend(url)) as gateway:
        async with httpx2.AsyncClient(base_url=gateway.url, headers=HEADERS, timeout=5) as client:
            answer = await client.post("/v1/chat/completions", json=STREAM)
        assert answer.content == chunk("a") + error
        (event,) = await gateway.settled(1)
        assert (event.outcome, event.estimated) == ("upstream_error", True)


async def test_a_bodys_time_limit(gateway_with: Any) -> None:
    """A body that trickles in is refused after the time-out, and makes no usage event."""
    async with gateway_with(body=0.3) as gateway:
        host, port = gateway.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\napi-key: sk-team-a\r\ncontent-length: 100\r\n\r\n"
        )
        writer.write(head.encode() + b'{"mod')
        async with asyncio.timeout(30):
            assert (await reader.readline()).startswith(b"HTTP/1.1 408")
        writer.close()
        await writer.wait_closed()
        assert not gateway.events


async def test_many_calls_at_once_are_each_charged(gateway: Any) -> None:
    """A hundred concurrent calls, some of them throttled first, are a hundred events, and equal the invoices."""
    await gateway.simulators["first"].inject(Status(status=429, headers={"retry-after-ms": "50"}, times=3))
    client = gateway.azure()
    await asyncio.gather(*(client.chat.completions.create(model="gpt-4o", messages=HELLO) for _ in range(100)))
    events = await gateway.settled(100)
    assert len({event.id for event in events}) == 100
    billed = [simulator.invoice.usage() for simulator in gateway.simulators.values()]
    assert sum(event.meters.prompt_tokens for event in events) == sum(usage.prompt for usage in billed)
    assert sum(event.meters.completion_tokens for event in events) == sum(usage.completion for usage in billed)


@pytest.mark.parametrize("chunks", [1, 2])
async def test_a_stream_without_content_moves_on(gateway: Any, chunks: int) -> None:
    """A stream that breaks before its first word is continued by the next backend; both prompts are charged."""
    await gateway.simulators["first"].inject(Cut(after_chunks=chunks, times=1))
    stream = await gateway.azure().chat.completions.create(**STREAM)
    said = [part.choices[0].delta.content or "" async for part in stream if part.choices]
    assert "printer on floor three" in "".join(said)
    broken, answered = sorted(await gateway.settled(2), key=lambda event: event.backend)
    assert (broken.backend, broken.parent, broken.outcome) == ("first", answered.id, "upstream_error")
    assert (answered.backend, answered.outcome, answered.estimated, answered.attempts) == (
        "second",
        "completed",
        False,
        2,
    )
    for event in (broken, answered):
        billed = gateway.simulators[event.backend].invoice.usage()
        assert (event.meters.prompt_tokens, event.meters.completion_tokens) == (billed.prompt, billed.completion)


async def test_a_stream_that_nobody_continues(gateway: Any) -> None:
    """Where no backend is left the caller gets the error event, and each prompt is charged once."""
    for simulator in gateway.simulators.values():
        await simulator.inject(Cut(after_chunks=1))
    stream = await gateway.azure().chat.completions.create(**STREAM)
    with pytest.raises(openai.APIError, match="broke the stream off"):
        [part async for part in stream]
    events = await gateway.settled(3)
    assert sorted(bool(event.parent) for event in events) == [False, True, True]
    billed = [simulator.invoice.usage().prompt for simulator in gateway.simulators.values()]
    assert sum(event.meters.prompt_tokens for event in events) == sum(billed)


async def test_heartbeats_in_silence(gateway_with: Any) -> None:
    """A silent stream sends comments, which the SDK skips, and goes on when its backend does."""
    backend = ScriptedBackend([chunk("a"), chunk("b"), USAGE, DONE])
    async with served(backend) as url, gateway_with(heartbeat=0.05, **one_backend(url)) as gateway:
        backend.steps[0].set()
        async with (
            httpx2.AsyncClient(base_url=gateway.url, headers=HEADERS, timeout=5) as client,
            client.stream("POST", "/v1/chat/completions", json=STREAM) as answer,
        ):
            received = pieces_of(answer)
            assert await anext(received) == chunk("a")
            assert await anext(received) == b": still waiting\n\n"
            for step in backend.steps:
                step.set()
            rest = b"".join([piece async for piece in received])
        assert rest.replace(b": still waiting\n\n", b"") == chunk("b") + DONE
        (event,) = await gateway.settled(1)
        assert (event.outcome, event.meters.completion_tokens) == ("completed", 3)


async def test_comments_alone_are_no_stream(gateway_with: Any) -> None:
    """A backend that keeps a stream open by comments, or by an event that never ends, is given up after a while."""

    def chattering(beginning: bytes, noise: bytes) -> Any:
        async def backend(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            headers = [(b"content-type", b"text/event-stream")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": chunk("Hello") + beginning, "more_body": True})
            leaving = asyncio.create_task(receive())
            while not leaving.done():
                await send({"type": "http.response.body", "body": noise, "more_body": True})
                await asyncio.wait([leaving], timeout=0.02)

        return backend

    for beginning, noise in ((b"", b": busy\n\n"), (b"", b"\n"), (b"data: ", b" ")):
        async with served(chattering(beginning, noise)) as url, gateway_with(idle=0.06, **one_backend(url)) as gateway:
            stream = await gateway.azure().chat.completions.create(**STREAM)
            with pytest.raises(openai.APIError, match="sent nothing but comments"):
                [part async for part in stream]
            (event,) = await gateway.settled(1)
            assert event.outcome == "upstream_error"


async def test_an_error_before_any_content_moves_on(gateway_with: Any, simulators: Any) -> None:
    """An error that a stream begins with moves the call on; where no backend is left its message is passed on."""
    error = b'data: {"error": {"message": "overloaded", "code": "server_error"}}\n\n'
    backend = ScriptedBackend([error])
    backend.steps[0].set()
    async with served(backend) as url:
        alone = one_backend(url)
        both = alone | {
            "backends": alone["backends"]
            | {"second": {"endpoint": simulators["second"].url, "auth": {"api_key": "setting:UPSTREAM_KEY"}}}
        }
        both["deployments"] = {
            "gpt-4o": {"model": "gpt-4o", "pool": [{"backend": "first"}, {"backend": "second", "priority": 2}]}
        }
        async with gateway_with(**both) as gateway:
            stream = await gateway.azure().chat.completions.create(**STREAM)
            said = [part.choices[0].delta.content or "" async for part in stream if part.choices]
            assert "printer on floor three" in "".join(said)
        async with gateway_with(**alone) as gateway:
            stream = await gateway.azure().chat.completions.create(**STREAM)
            with pytest.raises(openai.APIError, match="overloaded"):
                [part async for part in stream]


async def test_compressed_answers_are_opened(gateway_with: Any) -> None:
    """A backend that compresses although nobody asked is read, metered and passed on as plain JSON."""
    seen: list[bytes] = []

    async def backend(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        seen.extend(value for name, value in scope["headers"] if name == b"accept-encoding")
        usage = {"prompt_tokens": 7, "completion_tokens": 3}
        body = gzip.compress(json.dumps({"object": "chat.completion", "choices": [], "usage": usage}).encode())
        headers = [(b"content-type", b"application/json"), (b"content-encoding", b"gzip")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async with served(backend) as url, gateway_with(**one_backend(url)) as gateway:
        answer = await gateway.azure().chat.completions.create(model="gpt-4o", messages=HELLO)
        assert answer.object == "chat.completion"
        (event,) = await gateway.settled(1)
        assert (event.meters.prompt_tokens, event.estimated) == (7, False)
    assert seen == [b"identity"]
