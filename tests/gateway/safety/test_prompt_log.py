"""Prompts and completions on their way to a hub of their own, from a running gateway."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import openai
import pytest

from gateway.metering.tokens import TokenCounter
from gateway.safety import prompt_log
from gateway.safety.prompt_log import MOST_COMPLETION, MOST_PROMPT, PromptLog, PromptRecord
from local.simulator.server import Simulator
from seams.clock import SystemClock
from seams.events import StreamUnavailable
from tests.gateway.catalogs import KEY, OTHER_KEY, catalog_of, key_hash
from tests.gateway.running import RunningGateway, run_gateway

SECRET = "Write to jane.doe@contoso.com or +49 89 1234567; my card is 4111 1111 1111 1111."
CLEAN = "Write to [email] or [phone]; my card is [card]."


@dataclass
class Hub:
    """An event hub that takes nothing while `closed`, and fails while `failing`."""

    bodies: list[bytes] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    failing: bool = False

    async def publish(self, bodies: Sequence[bytes], key: str) -> None:
        await self.open.wait()
        if self.failing:
            raise StreamUnavailable("no hub here")
        self.bodies += bodies
        self.keys.append(key)

    async def incarnation(self) -> str:
        return "test"

    async def ends(self) -> Mapping[str, int]:
        return {}

    async def close(self) -> None:
        return

    async def records(self, count: int) -> list[PromptRecord]:
        async with asyncio.timeout(30):
            while len(self.bodies) < count:
                await asyncio.sleep(0.005)
        return [msgspec.json.decode(body, type=PromptRecord) for body in self.bodies]


@dataclass
class Logged:
    gateway: RunningGateway
    hub: Hub
    log: PromptLog

    async def ask(self, text: str = SECRET, key: str = KEY, **more: Any) -> Any:
        messages: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]
        return await self.gateway.azure(key).chat.completions.create(**{"model": "gpt-4o", "messages": messages} | more)


@pytest.fixture
async def logged(simulators: dict[str, Simulator], counter: TokenCounter) -> AsyncIterator[Logged]:
    """A gateway that logs team-a's prompts, and not team-b's."""
    async with logging(simulators, counter) as running:
        running.hub.open.set()
        yield running


@asynccontextmanager
async def logging(simulators: dict[str, Simulator], counter: TokenCounter) -> AsyncIterator[Logged]:
    catalog = catalog_of(simulators)
    catalog["subscriptions"] = {
        "team-a": {"key_hashes": [key_hash(KEY)], "log_prompts": True},
        "team-b": {"key_hashes": [key_hash(OTHER_KEY)]},
    }
    hub = Hub()
    log = PromptLog(hub, SystemClock())
    async with run_gateway(simulators, counter, catalog=catalog, prompt_log=log) as gateway:
        yield Logged(gateway, hub, log)
    await log.close()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_is_logged_without_what_tells_of_somebody(logged: Logged, stream: bool) -> None:
    """The record has both sides of a chat, whole or streamed, each redacted, under the request's id."""
    answer = await logged.ask(stream=stream)
    if stream:
        said = "".join([chunk.choices[0].delta.content or "" async for chunk in answer if chunk.choices])
    else:
        said = answer.choices[0].message.content
    (record,) = await logged.hub.records(1)
    (event,) = await logged.gateway.settled(1)
    assert (record.id, record.subscription, record.deployment) == (event.id, "team-a", "gpt-4o")
    assert (record.operation, record.outcome, record.truncated) == ("chat/completions", "completed", False)
    assert [(message.role, message.text) for message in record.messages] == [("system", "Be brief."), ("user", CLEAN)]
    assert "contoso" in said
    assert record.completion
    assert "contoso" not in record.completion
    assert logged.hub.keys == ["team-a"]
    assert b"contoso" not in logged.hub.bodies[0]
    assert b"4111" not in logged.hub.bodies[0]


async def test_who_does_not_ask_for_it_is_not_logged(logged: Logged) -> None:
    """Another subscription's prompts go nowhere."""
    await logged.ask(key=OTHER_KEY)
    await logged.ask("Hello")
    (record,) = await logged.hub.records(1)
    assert record.subscription == "team-a"
    assert record.messages[1].text == "Hello"


async def test_responses_and_embeddings_are_logged(logged: Logged) -> None:
    """The Responses API's instructions, input and output, and what vectors are made of."""
    openai_client = logged.gateway.openai()
    await openai_client.responses.create(model="gpt-4o", input=SECRET, instructions="Be brief.")
    await logged.hub.records(1)
    await openai_client.embeddings.create(model="embed", input=["one", SECRET])
    response, embedding = await logged.hub.records(2)
    assert [(message.role, message.text) for message in response.messages] == [("system", "Be brief."), ("user", CLEAN)]
    assert "[email]" in response.completion
    assert [message.text for message in embedding.messages] == ["one", CLEAN]
    assert embedding.completion == ""


async def test_a_refused_prompt_is_logged(logged: Logged) -> None:
    """What a backend's filter refuses is logged with its prompt and no completion."""
    with pytest.raises(openai.BadRequestError):
        await logged.ask("content-filter-me")
    (record,) = await logged.hub.records(1)
    assert (record.messages[1].text, record.completion) == ("content-filter-me", "")


async def test_long_texts_are_cut_and_marked(logged: Logged) -> None:
    """The latest messages are kept, the oldest give way; nothing that is cut in two shows its half."""
    messages = [{"role": "user", "content": f"{number} " + "jane@contoso.com " * 2_500} for number in range(8)]
    await logged.ask(messages=[*messages, {"role": "user", "content": "The last word"}])
    await logged.ask(messages=[{"role": "user", "content": "jane@contoso.com " * 20_000}])
    long, longest = await logged.hub.records(2)
    assert long.truncated
    assert long.messages[-1].text == "The last word"
    assert long.messages[-2].text.startswith("7 [email] [email]")
    assert sum(len(message.text) for message in long.messages) <= MOST_PROMPT
    assert longest.truncated
    assert set(longest.messages[0].text.split()) <= {"[email]", "[email", "[emai", "[ema", "[em", "[e", "["}
    assert all(len(body) < 1_000_000 and b"contoso" not in body for body in logged.hub.bodies)
    assert len(long.completion) <= MOST_COMPLETION


async def test_a_slow_hub_is_in_nobodys_way(
    simulators: dict[str, Simulator], counter: TokenCounter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the hub takes nothing callers are answered; what is too much is dropped and counted, the rest goes out."""
    monkeypatch.setattr(prompt_log, "MOST_WAITING", 3)
    async with logging(simulators, counter) as running:
        for number in range(6):
            await running.ask(f"Hello {number}")
        await running.gateway.settled(6)
        async with asyncio.timeout(30):
            while running.log.dropped < 2:
                await asyncio.sleep(0.005)
        running.hub.open.set()
        records = await running.hub.records(4)
    assert [record.messages[1].text for record in records] == ["Hello 0", "Hello 1", "Hello 2", "Hello 3"]
    assert running.log.dropped == 2


async def test_a_failing_hub_loses_records_and_nothing_else(logged: Logged, caplog: pytest.LogCaptureFixture) -> None:
    """Records that the hub refuses are counted and named in the log, without a word of them; later ones go out."""
    logged.hub.failing = True
    assert (await logged.ask()).choices
    async with asyncio.timeout(30):
        while not logged.log.dropped:
            await asyncio.sleep(0.005)
    logged.hub.failing = False
    assert (await logged.ask("Again")).choices
    (record,) = await logged.hub.records(1)
    assert record.messages[1].text == "Again"
    assert "1 prompt records dropped: no hub here" in caplog.text
    assert "contoso" not in caplog.text


async def test_closing_waits_a_little(
    simulators: dict[str, Simulator], counter: TokenCounter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hub that never answers does not keep the app from stopping; what it did not take is counted."""
    monkeypatch.setattr(prompt_log, "CLOSE_SECONDS", 0.05)
    async with logging(simulators, counter) as running:
        await running.ask("One")
        await running.ask("Two")
        await running.gateway.settled(2)
    assert running.log.dropped == 2
    assert running.hub.bodies == []
