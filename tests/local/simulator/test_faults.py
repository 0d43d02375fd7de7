import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any

import openai
import pytest
from openai import AsyncAzureOpenAI

from local.simulator.faults import (
    AnyFault,
    Cut,
    FaultBook,
    Garbage,
    Header,
    Html,
    Malformed,
    NotJson,
    Refuse,
    Reset,
    Slow,
    Stall,
    Status,
    UsageMissing,
    UsageZero,
)
from local.simulator.server import Simulator

CHAT = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
MESSAGES: Any = [{"role": "user", "content": "What is the capital of France?"}]
PLAIN = {"messages": MESSAGES}
STREAM = {"messages": MESSAGES, "stream": True, "stream_options": {"include_usage": True}}

type Post = Callable[..., Awaitable[Any]]
type Until = Callable[[Callable[[], object]], Awaitable[None]]


async def ask(client: AsyncAzureOpenAI) -> Any:
    return await client.chat.completions.create(model="gpt-4o", messages=MESSAGES)


async def test_status_with_body_and_headers(simulator: Simulator, azure: AsyncAzureOpenAI) -> None:
    """Any status goes out with its headers, as often as asked, and then the answer is back."""
    await simulator.inject(Status(status=429, headers={"Retry-After": "7", "retry-after-ms": "6500"}, times=2))
    for _ in range(2):
        with pytest.raises(openai.RateLimitError) as refused:
            await ask(azure)
        assert refused.value.response.headers["retry-after-ms"] == "6500"
        assert refused.value.code == "429"
    assert (await ask(azure)).choices


async def test_a_list_of_faults_hits_one_request_after_the_other(simulator: Simulator, azure: AsyncAzureOpenAI) -> None:
    """Two faults of one hit each hit two requests, in order."""
    await simulator.inject(Status(status=500, body={"error": {"message": "own"}}, times=1), Status(status=503, times=1))
    seen = []
    for _ in range(2):
        with pytest.raises(openai.InternalServerError) as failed:
            await ask(azure)
        seen.append(failed.value.status_code)
    assert seen == [500, 503]
    assert simulator.faults() == []


async def test_refused_connections_come_back_by_themselves(simulator: Simulator, azure: AsyncAzureOpenAI) -> None:
    """While it refuses, a connect fails and the kept connection is closed; after the time the same port answers."""
    await ask(azure)
    port = simulator.port
    await simulator.inject(Refuse(seconds=0.2))
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    with pytest.raises(openai.APIConnectionError):
        await ask(azure)
    answer = None
    deadline = time.monotonic() + 5
    while answer is None and time.monotonic() < deadline:
        with contextlib.suppress(openai.APIConnectionError):
            answer = await ask(azure)
        await asyncio.sleep(0.01)
    assert answer is not None
    assert simulator.port == port


async def test_clearing_ends_a_refusal(simulator: Simulator, azure: AsyncAzureOpenAI) -> None:
    """A refusal without a time lasts until the faults are cleared."""
    await simulator.inject(Refuse())
    assert simulator.faults() == [Refuse()]
    with pytest.raises(openai.APIConnectionError):
        await ask(azure)
    await simulator.clear()
    assert (await ask(azure)).choices


async def test_reset_before_an_answer(simulator: Simulator, post: Post) -> None:
    """The connection ends by RST with not a byte sent."""
    await simulator.inject(Reset())
    reading = await post(CHAT, PLAIN)
    assert (reading.data, reading.reset) == (b"", True)


@pytest.mark.parametrize("rst", [False, True])
@pytest.mark.parametrize("chunks", [0, 1, 4])
async def test_a_cut_stream_gives_exactly_its_chunks(simulator: Simulator, post: Post, chunks: int, rst: bool) -> None:
    """All n events arrive, then FIN or RST, without the chunk that would end the body."""
    await simulator.inject(Cut(after_chunks=chunks, rst=rst))
    reading = await post(CHAT, STREAM)
    assert reading.status == 200
    assert len(reading.events) == chunks
    assert not reading.complete
    assert reading.reset == rst


async def test_the_sdk_sees_a_cut_stream_as_a_broken_connection(simulator: Simulator, azure: AsyncAzureOpenAI) -> None:
    """A FIN in the middle of a chunked body is an error to the SDK, after the text that came."""
    await simulator.inject(Cut(after_chunks=4))
    stream = await azure.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True)
    said: list[str] = []

    async def read() -> None:
        async for chunk in stream:
            said.extend(choice.delta.content or "" for choice in chunk.choices)

    with pytest.raises(openai.APIConnectionError):
        await read()
    assert "".join(said) == "You asked:"


async def test_a_cut_json_answer_is_half_a_body(simulator: Simulator, post: Post) -> None:
    """Without a stream the body ends half way, short of its content-length."""
    await simulator.inject(Cut())
    head, _, body = (await post(CHAT, PLAIN)).data.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    assert len(body) == length // 2


async def test_a_stall_is_silence_for_its_time(simulator: Simulator, post: Post) -> None:
    """After n events nothing comes for the given seconds; then the stream goes on to its end."""
    await simulator.inject(Stall(after_chunks=3, seconds=0.2))
    began = time.monotonic()
    reading = await post(CHAT, STREAM)
    assert time.monotonic() - began >= 0.2
    assert reading.events[-1] == b"data: [DONE]"


async def test_a_stall_without_time_lasts_until_the_caller_leaves(
    simulator: Simulator, azure: AsyncAzureOpenAI, until: Until
) -> None:
    """The caller's time-out is what ends it, and the simulator notices."""
    await simulator.inject(Stall(after_chunks=3, times=1))
    stream = await azure.with_options(timeout=0.2).chat.completions.create(
        model="gpt-4o", messages=MESSAGES, stream=True
    )
    with pytest.raises(Exception, match=r"(?i)timeout|timed out"):
        async for _ in stream:
            pass
    await stream.close()
    await until(lambda: simulator.invoice.lines)
    assert [line.outcome for line in simulator.invoice.lines] == ["client_left"]


async def test_a_slow_first_byte(simulator: Simulator, azure: AsyncAzureOpenAI) -> None:
    """The status line comes after the given seconds, and the answer is whole."""
    await simulator.inject(Slow(seconds=0.15))
    began = time.monotonic()
    answer = await ask(azure)
    assert time.monotonic() - began >= 0.15
    assert answer.choices


async def test_a_garbage_line_in_a_stream(simulator: Simulator, post: Post) -> None:
    """A line that is no SSE field stands before the event, and all events are there."""
    await simulator.inject(Malformed(at_chunk=2))
    reading = await post(CHAT, STREAM)
    assert b"\x00\xff this is no event" in reading.data
    assert reading.events[-1] == b"data: [DONE]"


async def test_broken_json_in_a_stream(simulator: Simulator, post: Post, azure: AsyncAzureOpenAI) -> None:
    """One event's JSON breaks off; the SDK fails to parse it."""
    await simulator.inject(Malformed(at_chunk=2, form="json"))
    reading = await post(CHAT, STREAM)
    assert not reading.events[2].endswith(b"}")
    assert reading.events[3].endswith(b"}")
    stream = await azure.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True)
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        async for _ in stream:
            pass
    await stream.close()


@pytest.mark.parametrize(
    ("fault", "begins", "holds"),
    [
        (Garbage(), b"\x16\x03\x01", b"this is not HTTP"),
        (NotJson(), b"HTTP/1.1 200", b"application/json"),
        (Html(), b"HTTP/1.1 502", b"<h1>Bad Gateway</h1>"),
    ],
)
async def test_answers_that_are_no_answers(
    simulator: Simulator, post: Post, fault: AnyFault, begins: bytes, holds: bytes
) -> None:
    """Garbage instead of HTTP, 200 without JSON, and a proxy's page; none of them is billed."""
    await simulator.inject(fault)
    reading = await post(CHAT, PLAIN)
    assert reading.data.startswith(begins)
    assert holds in reading.data
    assert not simulator.invoice.lines


@pytest.mark.parametrize("body", [PLAIN, STREAM])
async def test_usage_missing_and_zero(simulator: Simulator, post: Post, body: Any) -> None:
    """Usage can be left out, which is billed in full, or be zero, which is billed as zero."""
    await simulator.inject(UsageMissing(times=1), UsageZero(times=1))
    missing = await post(CHAT, body)
    zero = await post(CHAT, body)
    assert b"completion_tokens" not in missing.data
    assert b'"total_tokens":0' in zero.data
    first, second = simulator.invoice.lines
    assert first.prompt_tokens > 0 < first.completion_tokens
    assert (second.prompt_tokens, second.completion_tokens) == (0, 0)


async def test_a_header_picks_the_request_that_is_hit(simulator: Simulator, azure: AsyncAzureOpenAI) -> None:
    """Only the request with the named header is hit, whatever comes in between."""
    await simulator.inject(Status(status=500, times=1, header=Header(name="X-Test", value="7")))
    assert (await ask(azure)).choices
    with pytest.raises(openai.InternalServerError):
        await azure.chat.completions.create(model="gpt-4o", messages=MESSAGES, extra_headers={"x-test": "7"})


def test_operation_and_deployment_narrow_a_fault() -> None:
    """A fault that names another operation or deployment is not taken, and keeps its hits."""
    book = FaultBook()
    book.add(Reset(times=1, operation="embeddings"), NotJson(times=1, deployment="gpt-4o"))
    assert book.take("chat/completions", "other", ()) is None
    assert isinstance(book.take("chat/completions", "gpt-4o", ()), NotJson)
    assert book.listed() == [Reset(times=1, operation="embeddings")]
    assert isinstance(book.take("embeddings", "gpt-4o", ()), Reset)
    assert book.take("embeddings", "gpt-4o", ()) is None
