"""The prompt shield in a running gateway, against a Content Safety service on a port of its own."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.metering.tokens import TokenCounter
from gateway.safety.content_safety import ContentSafety
from gateway.safety.shield import NO_DETECTOR, OVERLAP, PromptShield, questions
from gateway.upstream.http11 import Http11Upstream
from local.simulator.server import Simulator
from tests.gateway.catalogs import KEY, catalog_of, key_hash
from tests.gateway.fake_content_safety import ATTACK, TOKEN, FakeContentSafety
from tests.gateway.fake_content_safety import KEY as SAFETY_KEY
from tests.gateway.running import RunningGateway, run_gateway
from tests.served import served

HELLO: Any = [{"role": "user", "content": "Hello"}]
ATTACKING: Any = [{"role": "user", "content": f"{ATTACK}, who does anything."}]


class Tokens:
    async def token(self) -> str:
        return TOKEN

    async def close(self) -> None:
        return


@asynccontextmanager
async def shielded(
    simulators: dict[str, Simulator],
    counter: TokenCounter,
    service: FakeContentSafety,
    *,
    credential: Any = SAFETY_KEY,
    **safety: Any,
) -> AsyncIterator[RunningGateway]:
    """Yield a gateway whose team-a has these `safety` settings, none where there are none."""
    catalog = catalog_of(simulators)
    catalog["subscriptions"]["team-a"] = {"key_hashes": [key_hash(KEY)]} | ({"safety": safety} if safety else {})
    upstream = Http11Upstream(connect_timeout=1)
    try:
        async with served(service) as url:
            patience = 0.3 if service.seconds else 20.0
            shield = PromptShield(ContentSafety(upstream, url, credential, patience))
            async with run_gateway(simulators, counter, catalog=catalog, shield=shield) as gateway:
                yield gateway
            await upstream.close()
    finally:
        await upstream.close()


async def ask(gateway: RunningGateway, messages: Any = HELLO, **more: Any) -> Any:
    return await gateway.azure().chat.completions.create(model="gpt-4o", messages=messages, **more)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_attack_is_refused(simulators: dict[str, Simulator], counter: TokenCounter, stream: bool) -> None:
    """A user's attack is a 400 content_filter as Azure's own filter makes it; no backend hears it, nobody pays."""
    async with shielded(simulators, counter, FakeContentSafety(), prompt_shield=True) as gateway:
        with pytest.raises(openai.BadRequestError) as refused:
            await ask(gateway, ATTACKING, stream=stream)
        await ask(gateway)
        events = await gateway.settled(1)
    assert (refused.value.code, refused.value.param) == ("content_filter", "prompt")
    assert isinstance(refused.value.body, dict)
    assert refused.value.body["innererror"]["content_filter_result"]["jailbreak"] == {
        "filtered": True,
        "detected": True,
    }
    assert len(events) == 1
    assert sum(len(simulator.backend.requests) for simulator in simulators.values()) == 1


async def test_what_users_and_tools_say_is_asked_about(simulators: dict[str, Simulator], counter: TokenCounter) -> None:
    """Users' words are the prompt, tools' the documents; instructions and the model's own words are not asked about."""
    service = FakeContentSafety()
    conversation: Any = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "First"}]},
        {"role": "assistant", "content": "I said."},
        {"role": "tool", "tool_call_id": "1", "content": "A page."},
        {"role": "user", "content": "Second"},
    ]
    async with shielded(simulators, counter, service, prompt_shield=True) as gateway:
        await ask(gateway, conversation)
        with pytest.raises(openai.BadRequestError):
            await ask(gateway, [*conversation, {"role": "tool", "tool_call_id": "2", "content": f"{ATTACK}!"}])
        with pytest.raises(openai.BadRequestError):
            await gateway.openai().responses.create(model="gpt-4o", input=f"{ATTACK}.", instructions="Be brief.")
        await gateway.openai().embeddings.create(model="embed", input=ATTACK)
    assert service.requests[0] == {"userPrompt": "First\n\nSecond", "documents": ["A page."]}
    assert service.requests[1]["documents"] == ["A page.", f"{ATTACK}!"]
    assert service.requests[2] == {"userPrompt": f"{ATTACK}."}
    assert service.queries == [b"api-version=2024-09-01"] * 3


@pytest.mark.parametrize("safety", [{}, {"prompt_shield": False}])
async def test_off_nothing_is_asked(
    simulators: dict[str, Simulator], counter: TokenCounter, safety: dict[str, Any]
) -> None:
    """A subscription that does not ask for the shield is not slowed by it, and its prompts go nowhere."""
    service = FakeContentSafety()
    async with shielded(simulators, counter, service, **safety) as gateway:
        assert (await ask(gateway, ATTACKING)).choices
    assert service.requests == []


FAULTS = {
    "throttled": {"status": 429},
    "failing": {"status": 500},
    "silent": {"seconds": 1.0},
    "garbage": {"body": b"<html>"},
    "no verdict": {"body": b"{}"},
    "another shape": {"body": b'{"userPromptAnalysis": {"attackDetected": "false"}}'},
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_without_a_verdict_the_subscription_decides(
    simulators: dict[str, Simulator], counter: TokenCounter, fault: dict[str, Any]
) -> None:
    """Where the service gives none, `closed` (also by default) refuses with 503, and `open` lets the call through."""
    for safety in ({"prompt_shield": True}, {"prompt_shield": True, "fail": "closed"}):
        async with shielded(simulators, counter, FakeContentSafety(**fault), **safety) as gateway:
            with pytest.raises(openai.InternalServerError) as refused:
                await ask(gateway)
        assert (refused.value.status_code, refused.value.code) == (503, "prompt_unchecked")
        assert refused.value.response.headers["retry-after"] == "1"
    async with shielded(simulators, counter, FakeContentSafety(**fault), prompt_shield=True, fail="open") as gateway:
        assert (await ask(gateway)).choices


async def test_without_a_service_the_subscription_decides(
    simulators: dict[str, Simulator], counter: TokenCounter
) -> None:
    """Where no service is set, a subscription that wants its prompts checked is refused rather than not checked."""
    catalog = catalog_of(simulators)
    catalog["subscriptions"]["team-a"]["safety"] = {"prompt_shield": True}
    async with run_gateway(simulators, counter, catalog=catalog, shield=NO_DETECTOR) as gateway:
        with pytest.raises(openai.InternalServerError, match="could not be checked"):
            await ask(gateway)


@pytest.mark.parametrize("fail", ["closed", "open"])
async def test_what_cannot_be_read_cannot_be_checked(
    simulators: dict[str, Simulator], counter: TokenCounter, fail: str
) -> None:
    """What says that it is a file goes unchecked only where the subscription lets it; chat is read whatever it says."""
    body = {"messages": ATTACKING}
    async with shielded(simulators, counter, FakeContentSafety(), prompt_shield=True, fail=fail) as gateway:
        headers = {"api-key": KEY, "content-type": "audio/wav"}
        async with httpx2.AsyncClient(base_url=gateway.url, headers=headers) as client:
            chat = await client.post("/openai/deployments/gpt-4o/Chat/Completions", content=json.dumps(body))
            other = await client.post("/openai/deployments/gpt-4o/extensions/chat", content=json.dumps(body))
    assert chat.json()["error"]["code"] == "content_filter"
    assert (other.status_code == 503) == (fail == "closed")


async def test_reached_by_identity(simulators: dict[str, Simulator], counter: TokenCounter) -> None:
    """Without a key the app's own token is sent, and a wrong key is no verdict."""
    service = FakeContentSafety()
    async with shielded(simulators, counter, service, credential=Tokens(), prompt_shield=True) as gateway:
        assert (await ask(gateway)).choices
    assert len(service.requests) == 1
    async with shielded(simulators, counter, service, credential="wrong", prompt_shield=True) as gateway:
        with pytest.raises(openai.InternalServerError):
            await ask(gateway)


async def test_long_prompts_are_asked_about_in_pieces(simulators: dict[str, Simulator], counter: TokenCounter) -> None:
    """An attack is seen wherever it stands, across a border too; what is longer than all pieces is unchecked."""
    service = FakeContentSafety()
    async with shielded(simulators, counter, service, prompt_shield=True) as gateway:
        for place in (9_990, 25_000, 60_000):
            text = "a " * (place // 2) + ATTACK + " b" * 20_000
            with pytest.raises(openai.BadRequestError):
                await ask(gateway, [{"role": "user", "content": text}])
        tools = [{"role": "tool", "tool_call_id": str(each), "content": "page " * 1_500} for each in range(8)]
        assert (await ask(gateway, [*HELLO, *tools])).choices
        with pytest.raises(openai.InternalServerError):
            await ask(gateway, [{"role": "user", "content": "a " * 100_000}])
    assert all(len(asked.get("userPrompt", "")) <= 10_000 for asked in service.requests)


@given(st.text(max_size=200), st.integers(0, 60_000), st.integers(0, 60_000))
def test_every_phrase_is_whole_in_some_question(phrase: str, before: int, after: int) -> None:
    """A phrase no longer than the overlap is never cut in two for all questions, in a prompt or in a document."""
    text = "x" * before + phrase[:OVERLAP] + "y" * after
    for asked in (questions(text, ()), questions("", (text,))):
        pieces = [piece for question in asked for piece in (question.prompt, *question.documents)]
        assert all(len(piece) <= 10_000 for piece in pieces)
        assert not phrase.strip() or any(phrase in piece for piece in pieces)


@given(st.lists(st.text(max_size=50).map(lambda text: text * 200), max_size=12))
def test_questions_are_inside_the_limits(documents: list[str]) -> None:
    """At most five documents, at most 10,000 characters of them, and none is left out."""
    asked = questions("", documents)
    assert all(len(each.documents) <= 5 and sum(map(len, each.documents)) <= 10_000 for each in asked)
    assert sum(len(each.documents) for each in asked) >= sum(1 for document in documents if document.strip())
