"""Stored responses by the real SDK: in the background, cancelled, and what they were asked with."""

from collections.abc import AsyncIterator
from datetime import timedelta

import openai
import pytest
from openai import AsyncOpenAI

from local.simulator.server import Simulator, serve
from local.simulator.settings import BackendSettings, Deployment
from local.simulator.tokens import Tokenizers, Usage
from tests.clocks import ShiftedClock

KEY = "made-up-key"
QUESTION = "What is the capital of France?"
ANSWER = "You asked: What is the capital of France?"
SETTINGS = BackendSettings(
    name="east", api_key=KEY, deployments={"gpt-4o": Deployment(model="gpt-4o-2024-11-20")}, background_ms=60_000
)


@pytest.fixture
def clock() -> ShiftedClock:
    return ShiftedClock()


@pytest.fixture
async def simulator(tokenizers: Tokenizers, clock: ShiftedClock) -> AsyncIterator[Simulator]:
    async with serve(SETTINGS, tokenizers=tokenizers, clock=clock) as running:
        yield running


async def test_a_background_response(v1: AsyncOpenAI, simulator: Simulator, clock: ShiftedClock) -> None:
    """It is queued, then in progress, then done; its usage is told and billed then, once, though nobody asks."""
    made = await v1.responses.create(model="gpt-4o", input=QUESTION, background=True)
    assert (made.status, made.background, made.output, made.usage) == ("queued", True, [], None)
    clock.ahead = timedelta(seconds=31)
    assert (await v1.responses.retrieve(made.id)).status == "in_progress"
    assert simulator.invoice.usage() == Usage()
    clock.ahead = timedelta(seconds=61)
    for _ in range(2):
        [line] = simulator.invoice.lines
    done = await v1.responses.retrieve(made.id)
    assert (done.status, done.output_text) == ("completed", ANSWER)
    assert done.usage is not None
    assert (line.prompt_tokens, line.completion_tokens) == (done.usage.input_tokens, done.usage.output_tokens)
    assert (await v1.responses.cancel(made.id)).status == "completed"


async def test_a_cancelled_response(v1: AsyncOpenAI, simulator: Simulator, clock: ShiftedClock) -> None:
    """It stays cancelled, however often and however late it is asked for, and so does one that was deleted: no bill."""
    made = await v1.responses.create(model="gpt-4o", input=QUESTION, background=True)
    deleted = await v1.responses.create(model="gpt-4o", input=QUESTION, background=True)
    assert [(await v1.responses.cancel(made.id)).status for _ in range(2)] == ["cancelled", "cancelled"]
    await v1.responses.delete(deleted.id)
    clock.ahead = timedelta(hours=1)
    assert (await v1.responses.retrieve(made.id)).status == "cancelled"
    assert not simulator.invoice.lines


async def test_a_streamed_background_response(v1: AsyncOpenAI, simulator: Simulator) -> None:
    """A stream goes along with the work; whoever leaves it is billed for all of it, and may fetch it."""
    stream = await v1.responses.create(model="gpt-4o", input=QUESTION, background=True, stream=True)
    begun = await anext(aiter(stream))
    await stream.close()
    assert begun.type == "response.created"
    done = await v1.responses.retrieve(begun.response.id)
    assert (done.status, done.output_text) == ("completed", ANSWER)
    [line] = simulator.invoice.lines
    assert done.usage is not None
    assert line.completion_tokens == done.usage.output_tokens


async def test_what_cannot_be(v1: AsyncOpenAI) -> None:
    """Work in the background must be stored; what was answered at once cannot be cancelled, nor what is not there."""
    with pytest.raises(openai.BadRequestError, match="store"):
        await v1.responses.create(model="gpt-4o", input=QUESTION, background=True, store=False)
    made = await v1.responses.create(model="gpt-4o", input=QUESTION)
    with pytest.raises(openai.BadRequestError, match="synchronous"):
        await v1.responses.cancel(made.id)
    for ask in (v1.responses.cancel, v1.responses.input_items.list):
        with pytest.raises(openai.NotFoundError):
            await ask("resp_nothing")


async def test_input_items(v1: AsyncOpenAI) -> None:
    """The items that a response was asked with come in pages, the latest first unless asked otherwise."""
    made = await v1.responses.create(
        model="gpt-4o",
        input=[{"role": "user", "content": text} for text in ("one", "two", "three")],
    )
    items = [item async for item in v1.responses.input_items.list(made.id, limit=1)]
    told = [item.to_dict()["content"] for item in items]
    assert told == [[{"type": "input_text", "text": text}] for text in ("three", "two", "one")]
    first = await v1.responses.input_items.list(made.id, order="asc", limit=2)
    assert (first.has_more, [item.id for item in first.data]) == (True, [item.id for item in items[:0:-1]])
    asked = await v1.responses.create(model="gpt-4o", input=QUESTION)
    [item] = (await v1.responses.input_items.list(asked.id)).data
    assert item.to_dict()["role"] == "user"
