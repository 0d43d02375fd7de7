from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import openai
import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI

from local.simulator.faults import Cut, Reset, Stall, Status
from local.simulator.invoice import Invoice, Line
from local.simulator.server import Simulator, serve
from local.simulator.settings import BackendSettings
from local.simulator.tokens import Tokenizer, Tokenizers, Usage

CHAT = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
MESSAGES: Any = [{"role": "user", "content": "What is the capital of France?"}]
ANSWER = "You asked: What is the capital of France?"

type Post = Callable[..., Awaitable[Any]]
type Until = Callable[[Callable[[], object]], Awaitable[None]]


@pytest.fixture
def prompt(tokenizer: Tokenizer) -> int:
    return 3 + tokenizer.count("user") + tokenizer.count(MESSAGES[0]["content"]) + 3


async def test_json_and_stream_bill_what_they_report(
    simulator: Simulator, azure: AsyncAzureOpenAI, prompt: int, tokenizer: Tokenizer
) -> None:
    """A line each, with the answer's request id and the usage that the caller was told."""
    raw = await azure.chat.completions.with_raw_response.create(model="gpt-4o", messages=MESSAGES)
    stream = await azure.chat.completions.create(
        model="gpt-4o", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    usages = [chunk.usage async for chunk in stream if chunk.usage]
    plain, streamed = simulator.invoice.lines
    completion = tokenizer.count(ANSWER)
    assert plain.request_id == raw.headers["apim-request-id"]
    assert (plain.stream, plain.outcome, plain.prompt_tokens, plain.completion_tokens) == (
        False, "completed", prompt, completion,
    )  # fmt: skip
    assert (streamed.stream, streamed.outcome, streamed.prompt_tokens, streamed.completion_tokens) == (
        True, "completed", prompt, completion,
    )  # fmt: skip
    assert [(usage.prompt_tokens, usage.completion_tokens) for usage in usages] == [(prompt, completion)]
    assert simulator.invoice.usage() == Usage(prompt=2 * prompt, completion=2 * completion)


@pytest.mark.parametrize(("chunks", "said"), [(0, ""), (2, ""), (3, "You"), (5, "You asked: What"), (50, ANSWER)])
@pytest.mark.parametrize("rst", [False, True])
async def test_a_cut_stream_bills_what_was_flushed(
    simulator: Simulator, post: Post, prompt: int, tokenizer: Tokenizer, *, chunks: int, said: str, rst: bool
) -> None:
    """The prompt and exactly the tokens of the words that arrived; a cut that lies behind the end cuts nothing."""
    await simulator.inject(Cut(after_chunks=chunks, rst=rst))
    reading = await post(CHAT, {"messages": MESSAGES, "stream": True})
    (line,) = simulator.invoice.lines
    assert line.outcome == ("completed" if reading.complete else "cut")
    assert (line.prompt_tokens, line.completion_tokens) == (prompt, tokenizer.count(said))


async def test_a_caller_who_leaves_pays_for_what_was_flushed(
    simulator: Simulator, azure: AsyncAzureOpenAI, prompt: int, tokenizer: Tokenizer, *, until: Until
) -> None:
    """The caller closes the stream in the middle; the simulator notices at once and bills the words it had sent."""
    await simulator.inject(Stall(after_chunks=6))
    stream = await azure.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True)
    text = ""
    async for chunk in stream:
        text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
        if text == "You asked: What is":
            break
    await stream.close()
    await until(lambda: simulator.invoice.lines)
    (line,) = simulator.invoice.lines
    assert line.outcome == "client_left"
    assert (line.prompt_tokens, line.completion_tokens) == (prompt, tokenizer.count(text))


async def test_failures_cost_nothing(simulator: Simulator, azure: AsyncAzureOpenAI, post: Post) -> None:
    """Status faults, resets, unknown deployments, bad requests and rate limits leave no line."""
    await simulator.inject(Status(status=500, times=1), Status(status=429, times=1), Reset(times=1))
    for _ in range(3):
        with pytest.raises(openai.APIError):
            await azure.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    with pytest.raises(openai.NotFoundError):
        await azure.chat.completions.create(model="gpt-9", messages=MESSAGES)
    with pytest.raises(openai.RateLimitError):
        await azure.chat.completions.create(model="small", messages=MESSAGES, max_tokens=1000)
    assert (await post(CHAT, {"no": "messages"})).status == 400
    assert simulator.invoice.document() == {"lines": [], "lines_dropped": 0, "totals": []}


async def test_a_caller_who_leaves_before_the_answer_pays_nothing(
    settings: BackendSettings, tokenizers: Tokenizers
) -> None:
    """Nothing is billed before the status line went out."""
    slow = msgspec.structs.replace(settings, latency_ms=60_000)
    async with serve(slow, tokenizers=tokenizers) as simulator:
        async with AsyncOpenAI(
            base_url=f"{simulator.url}/openai/v1/", api_key=settings.api_key, max_retries=0
        ) as client:
            with pytest.raises(openai.APITimeoutError):
                await client.chat.completions.create(model="gpt-4o", messages=MESSAGES, timeout=0.1)
        assert len(simulator.requests) == 1
    assert not simulator.invoice.lines


async def test_responses_and_embeddings_are_billed(simulator: Simulator, v1: AsyncOpenAI) -> None:
    """Every operation has its line, by operation, deployment and model."""
    answer = await v1.responses.create(model="o4-mini", input="What is the capital of France?")
    vectors = await v1.embeddings.create(model="embed", input="printer")
    assert answer.usage is not None
    first, second = simulator.invoice.lines
    assert (first.operation, first.model) == ("responses", "o4-mini-2025-04-16")
    assert (first.completion_tokens, first.reasoning_tokens) == (answer.usage.output_tokens, 128)
    assert (second.operation, second.prompt_tokens) == ("embeddings", vectors.usage.prompt_tokens)
    assert {total["deployment"] for total in simulator.invoice.document()["totals"]} == {"o4-mini", "embed"}


def test_totals_outlive_the_lines() -> None:
    """Lines above the bound are dropped and counted; the totals hold them all the same."""
    invoice = Invoice(bound=2)
    for number in range(3):
        invoice.bill(Line(str(number), datetime.now(UTC), "d", "m", "embeddings", False, "completed", 5, 0, 0, 0))
    document = invoice.document()
    assert [line["request_id"] for line in document["lines"]] == ["1", "2"]
    assert document["lines_dropped"] == 1
    assert document["totals"][0]["prompt_tokens"] == 15
