"""Intents: each call that may cost something is announced before its first attempt, and ends for the ledger, too."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import openai
import pytest

from gateway.limits.estimates import prompt_tokens
from gateway.metering.tokens import TokenCounter
from gateway.usage import Intent, Record, UsageEvent, Withdrawal
from local.simulator.faults import Cut, Refuse, Stall, Status
from local.simulator.server import Simulator
from tests.gateway.catalogs import KEY
from tests.gateway.running import RunningGateway, run_gateway

CHAT: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Why did the VPN drop at noon?"}]}


async def ended(gateway: RunningGateway, calls: int = 1) -> list[Record]:
    """Return the records of so many calls, once each has its end."""
    async with asyncio.timeout(10):
        while len([each for each in gateway.stream.records if not isinstance(each, Intent)]) < calls:
            await asyncio.sleep(0.005)
    return gateway.stream.records


async def chat(gateway: RunningGateway, key: str = KEY, **options: Any) -> Any:
    return await gateway.openai(key).chat.completions.create(**CHAT | options)


@asynccontextmanager
async def streaming(gateway: RunningGateway) -> AsyncIterator[Any]:
    stream = await chat(gateway, stream=True)
    try:
        yield stream
    finally:
        await stream.close()


@pytest.mark.parametrize("stream", [False, True])
async def test_an_intent_comes_before_its_event(gateway: RunningGateway, stream: bool) -> None:
    """A call's intent says what would be billed; the event of the same id follows it."""
    answer = await chat(gateway, stream=stream)
    if stream:
        async for _ in answer:
            pass
    intent, event = await ended(gateway)
    assert isinstance(intent, Intent)
    assert isinstance(event, UsageEvent)
    assert (intent.id, intent.subscription, intent.cost_centre) == (event.id, "team-a", "4711")
    assert (intent.operation, intent.deployment, intent.model) == ("chat/completions", "gpt-4o", "gpt-4o")
    assert (intent.backend, intent.deployment_type, intent.region) == ("first", event.deployment_type, event.region)
    assert intent.streamed is stream
    assert 0 < intent.prompt_tokens < 100
    assert intent.time <= event.time


async def test_the_intent_is_out_before_the_answer(gateway: RunningGateway, simulators: dict[str, Simulator]) -> None:
    """The ledger knows of a call while its backend is still silent."""
    await simulators["first"].inject(Stall(after_chunks=2))
    async with streaming(gateway) as stream:
        await anext(aiter(stream))
        async with asyncio.timeout(30):
            while not gateway.stream.records:
                await asyncio.sleep(0.005)
        assert [type(record) for record in gateway.stream.records] == [Intent]
    records = await ended(gateway)
    assert [type(record) for record in records] == [Intent, UsageEvent]


async def test_one_intent_for_all_attempts(gateway: RunningGateway, simulators: dict[str, Simulator]) -> None:
    """A call that moves on to another backend is announced once, with the first one's name."""
    await simulators["first"].inject(Status(status=500))
    await chat(gateway)
    intent, event = await ended(gateway)
    assert isinstance(intent, Intent)
    assert isinstance(event, UsageEvent)
    assert (intent.backend, event.backend) == ("first", "second")


async def test_a_stream_that_moves_on(gateway: RunningGateway, simulators: dict[str, Simulator]) -> None:
    """A stream that is opened anew has one intent, and its broken attempt an event of its own."""
    await simulators["first"].inject(Cut(after_chunks=0))
    async for _ in await chat(gateway, stream=True):
        pass
    records = await ended(gateway, 2)
    (intent,) = (record for record in records if isinstance(record, Intent))
    assert {record.id for record in records if isinstance(record, UsageEvent)} == {intent.id, f"{intent.id}-1"}


async def test_no_backend_answers(gateway: RunningGateway, simulators: dict[str, Simulator]) -> None:
    """Where every backend refused, the intent is withdrawn: nothing was consumed."""
    for simulator in simulators.values():
        await simulator.inject(Status(status=429, headers={"retry-after": "60"}))
    with pytest.raises(openai.RateLimitError):
        await chat(gateway)
    intent, withdrawal = await ended(gateway)
    assert isinstance(intent, Intent)
    assert isinstance(withdrawal, Withdrawal)
    assert (withdrawal.id, withdrawal.subscription) == (intent.id, "team-a")
    assert withdrawal.time >= intent.time


async def test_no_backend_is_there(gateway: RunningGateway, simulators: dict[str, Simulator]) -> None:
    """A call whose attempts reach nobody is announced and withdrawn."""
    for simulator in simulators.values():
        await simulator.inject(Refuse(seconds=30))
    with pytest.raises(openai.APIStatusError):
        await chat(gateway)
    assert [type(record) for record in await ended(gateway)] == [Intent, Withdrawal]


async def test_no_attempt_no_intent(gateway: RunningGateway, simulators: dict[str, Simulator]) -> None:
    """A call that is refused before any attempt, and one for which no backend is left, leave no record."""
    for simulator in simulators.values():
        await simulator.inject(Status(status=429, headers={"retry-after": "60"}))
    with pytest.raises(openai.RateLimitError):
        await chat(gateway)
    await ended(gateway)
    before = len(gateway.stream.records)
    with pytest.raises(openai.RateLimitError):
        await chat(gateway)
    with pytest.raises(openai.AuthenticationError):
        await chat(gateway, key="nobody")
    assert len(gateway.stream.records) == before


async def test_a_refused_request(gateway: RunningGateway, simulators: dict[str, Simulator]) -> None:
    """A request that a backend refuses as the caller's fault ends with its event, which says so."""
    await simulators["first"].inject(Status(status=400))
    with pytest.raises(openai.BadRequestError):
        await chat(gateway)
    intent, event = await ended(gateway)
    assert isinstance(intent, Intent)
    assert isinstance(event, UsageEvent)
    assert (event.id, event.status) == (intent.id, 400)


async def test_a_caller_who_leaves(gateway: RunningGateway, simulators: dict[str, Simulator]) -> None:
    """A caller who leaves while a backend works leaves an intent and an estimated event."""
    await simulators["first"].inject(Stall(after_chunks=0))
    async with httpx2.AsyncClient(base_url=gateway.url, headers={"api-key": KEY}) as client:
        asking = asyncio.create_task(client.post("/v1/chat/completions", json=CHAT | {"stream": True}, timeout=30))
        async with asyncio.timeout(30):
            while not simulators["first"].requests:
                await asyncio.sleep(0.01)
        asking.cancel()
        await asyncio.wait([asking])
    intent, event = await ended(gateway)
    assert isinstance(intent, Intent)
    assert isinstance(event, UsageEvent)
    assert (event.id, event.outcome) == (intent.id, "client_closed")


async def test_what_costs_nothing(gateway: RunningGateway) -> None:
    """Models and stored responses are not announced; making the response is."""
    client = gateway.openai()
    await client.models.list()
    response = await client.responses.create(model="gpt-4o", input="hello")
    await ended(gateway)
    await client.responses.retrieve(response.id)
    records = await ended(gateway, 2)
    assert [type(record) for record in records] == [Intent, UsageEvent, UsageEvent]


async def test_switched_off(simulators: dict[str, Simulator], counter: TokenCounter) -> None:
    """Without intents there are no withdrawals either: an answered call is its event, another leaves nothing."""
    async with run_gateway(simulators, counter, intents=False) as gateway:
        await chat(gateway)
        for simulator in simulators.values():
            await simulator.inject(Status(status=429, headers={"retry-after": "60"}))
        with pytest.raises(openai.RateLimitError):
            await chat(gateway)
    assert [type(record) for record in gateway.stream.records] == [UsageEvent]


def test_estimates() -> None:
    """A prompt is a quarter of its bytes, an image inside it a thousand tokens; units are not estimated."""
    assert prompt_tokens("chat/completions", b"x" * 400) == 100
    assert prompt_tokens("chat/completions", b'"data:image/png;base64,' + b"x" * 20_000 + b'"') in range(1000, 1010)
    assert prompt_tokens("audio/speech", b"x" * 400) == 0
