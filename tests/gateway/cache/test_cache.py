"""The answer cache through a running gateway, with the SDK and simulated backends."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from gateway.cache.kept_rows import COLUMN
from gateway.metering.tokens import TokenCounter
from gateway.usage import Meters
from local.simulator.faults import Cut, Slow, Status, UsageMissing
from local.simulator.server import Simulator
from local.tables import SQLiteTables
from seams.tables import Tables
from tests.clocks import ShiftedClock
from tests.gateway.catalogs import KEY, OTHER_KEY, catalog_of, key_hash
from tests.gateway.memory_tables import MemoryTables
from tests.gateway.running import RunningGateway, run_gateway

QUESTION = "How do I reset the password of my mail account?"
SEMANTIC = {"kind": "semantic", "embeddings": "embed", "threshold": 0.9}
CHAT = "/openai/v1/chat/completions"

type Run = Callable[..., AbstractAsyncContextManager[RunningGateway]]


@pytest.fixture
async def tables(tmp_path: Path) -> AsyncIterator[SQLiteTables]:
    opened = SQLiteTables(tmp_path / "tables.sqlite")
    yield opened
    await opened.close()


@pytest.fixture
def cached(simulators: dict[str, Simulator], counter: TokenCounter) -> Run:
    """Return a function that runs a gateway whose subscriptions, team-a and team-b, have this cache."""

    @asynccontextmanager
    async def run(
        cache: dict[str, Any] | None = None, tables: Tables | None = None, clock: ShiftedClock | None = None
    ) -> AsyncIterator[RunningGateway]:
        subscriptions = {
            name: {"key_hashes": [key_hash(key)], "cache": cache or {"kind": "exact"}}
            for name, key in (("team-a", KEY), ("team-b", OTHER_KEY))
        }
        catalog = catalog_of(simulators, subscriptions=subscriptions)
        async with run_gateway(simulators, counter, catalog=catalog, tables=tables, clock=clock) as gateway:
            yield gateway

    return run


async def ask(gateway: RunningGateway, text: str = QUESTION, key: str = KEY, **options: Any) -> Any:
    """Return the SDK's raw answer to a chat request at temperature 0."""
    asked: dict[str, Any] = {"model": "gpt-4o", "temperature": 0, "messages": [{"role": "user", "content": text}]}
    return await gateway.openai(key).chat.completions.with_raw_response.create(**asked | options)


async def verdicts(gateway: RunningGateway, *requests: dict[str, Any]) -> list[str]:
    """Return `x-gateway-cache` of the answers to these requests, each settled before the next."""
    found = []
    for request in requests:
        events = len(gateway.events)
        answer = await ask(gateway, **request)
        found.append(answer.headers.get("x-gateway-cache", ""))
        await gateway.settled(events + 1)
    return found


async def written(tables: SQLiteTables, count: int) -> None:
    """Return when the cache's table holds this many rows."""
    table = await tables.table("cache")
    async with asyncio.timeout(30):
        while len([row async for row in table.query()]) < count:
            await asyncio.sleep(0.005)


def asked_upstream(gateway: RunningGateway, operation: str = "chat/completions") -> int:
    return sum(
        request.path.endswith(operation) for simulator in gateway.simulators.values() for request in simulator.requests
    )


async def test_a_hit_is_the_same_answer_for_nothing(cached: Run) -> None:
    """The second of two equal requests gets the first one's bytes, asks no backend, and tells what it saved."""
    async with cached() as gateway:
        first = await ask(gateway)
        second = await ask(gateway, user="somebody-else", extra_headers={"x-workload-id": "nightly"})
        assert [each.headers["x-gateway-cache"] for each in (first, second)] == ["miss", "hit"]
        assert second.content == first.content
        assert second.parse().choices[0].message.content == first.parse().choices[0].message.content
        assert second.headers["x-gateway-attempts"] == "0"
        assert second.headers["x-gateway-backend"] == first.headers["x-gateway-backend"]
        assert second.headers["x-request-id"] != first.headers["x-request-id"]
        assert second.headers["age"] == "0"
        assert asked_upstream(gateway) == 1
        paid, saved = await gateway.settled(2)
        assert (saved.outcome, saved.status, saved.attempts) == ("cached", 200, 0)
        assert saved.meters == Meters()
        assert saved.avoided == paid.meters != Meters()
        assert (saved.model, saved.model_version) == (paid.model, paid.model_version)
        assert (saved.backend, saved.deployment_type) == (paid.backend, paid.deployment_type)
        assert saved.labels == {"workload": "nightly"}
        assert paid.avoided == Meters()


async def test_equal_calls_at_once_ask_once(cached: Run) -> None:
    """Of equal calls under way together one asks a backend; the others wait for its answer, but for streams."""
    async with cached() as gateway:
        await gateway.simulators["first"].inject(Slow(seconds=0.3, times=1))
        answers = await asyncio.gather(*(ask(gateway) for _ in range(5)), ask(gateway, "Another question"))
        assert sorted(answer.headers["x-gateway-cache"] for answer in answers) == ["hit"] * 4 + ["miss"] * 2
        assert len({answer.content for answer in answers[:5]}) == 1
        assert asked_upstream(gateway) == 2
        assert sorted(event.outcome for event in await gateway.settled(6)) == ["cached"] * 4 + ["completed"] * 2
        streams = await asyncio.gather(*(ask(gateway, "A third", stream=True) for _ in range(3)))
        assert [answer.headers["x-gateway-cache"] for answer in streams] == ["miss"] * 3
        for answer in streams:
            assert [chunk async for chunk in answer.parse()]


async def test_who_waits_for_an_answer_that_never_comes_asks(cached: Run) -> None:
    """Where the call that others wait for fails or is given up, each of them asks for itself."""
    async with cached() as gateway:
        first = gateway.simulators["first"]
        await first.inject(Status(status=400, times=1))
        answers = await asyncio.gather(*(ask(gateway) for _ in range(3)), return_exceptions=True)
        assert sum(isinstance(answer, openai.BadRequestError) for answer in answers) == 1
        await first.inject(Slow(seconds=20, times=1))
        gone = asyncio.create_task(ask(gateway, "Another question"))
        async with asyncio.timeout(20):
            while not any(b"Another question" in request.body for request in first.requests):
                await asyncio.sleep(0.005)
        waiting = [asyncio.create_task(ask(gateway, "Another question")) for _ in range(2)]
        gone.cancel()
        async with asyncio.timeout(10):
            assert [answer.headers["x-gateway-cache"] for answer in await asyncio.gather(*waiting)] == ["miss"] * 2


async def test_a_hit_tells_of_limits(simulators: dict[str, Simulator], counter: TokenCounter) -> None:
    """An answer that is given again has the headers of the subscription's limits, and takes nothing of them."""
    team = {"key_hashes": [key_hash(KEY)], "cache": {"kind": "exact"}, "limits": {"requests_per_minute": 2}}
    catalog = catalog_of(simulators, subscriptions={"team-a": team})
    async with run_gateway(simulators, counter, catalog=catalog) as gateway:
        answers = [await ask(gateway) for _ in range(4)]
    assert [answer.headers["x-gateway-cache"] for answer in answers] == ["miss", "hit", "hit", "hit"]
    assert {answer.headers["x-ratelimit-remaining-requests"] for answer in answers} == {"1"}
    assert {answer.headers["x-ratelimit-limit-requests"] for answer in answers} == {"2"}


async def test_a_stream_is_given_again_as_a_stream(cached: Run) -> None:
    """A streamed hit has the same events to the SDK, with usage where it was asked for; JSON is kept apart from it."""
    async with cached() as gateway:
        answers = 0
        choices: tuple[dict[str, Any], ...] = ({}, {"stream_options": {"include_usage": True}})
        for options in choices:
            heard = []
            for verdict in ("miss", "hit"):
                raw = await ask(gateway, stream=True, **options)
                heard.append([chunk async for chunk in raw.parse()])
                assert raw.headers["x-gateway-cache"] == verdict
                answers += 1
                await gateway.settled(answers)
            assert heard[0] == heard[1]
            assert bool(heard[1][-1].usage) == bool(options)
            assert heard[1][1].choices[0].delta.role == "assistant"
            assert [choice.finish_reason for chunk in heard[1] for choice in chunk.choices][-1] == "stop"
        assert (await ask(gateway)).headers["x-gateway-cache"] == "miss"
        assert asked_upstream(gateway) == 3
        cached_events = [event for event in gateway.events if event.outcome == "cached"]
        assert all(event.streamed and event.avoided.completion_tokens for event in cached_events)


async def test_every_cached_operation(cached: Run) -> None:
    """Completions, embeddings and responses that are not stored are answered again as well, streamed or not."""
    async with cached() as gateway:
        client = gateway.openai()
        for _ in range(2):
            await client.embeddings.create(model="embed", input="A text")
            await client.completions.create(model="gpt-4o", prompt="Once", temperature=0)
            await client.responses.create(model="gpt-4o", input="Hello", temperature=0, store=False)
            stream = await client.responses.create(model="gpt-4o", input="Hi", temperature=0, store=False, stream=True)
            assert [event.type async for event in stream][-1] == "response.completed"
            await gateway.settled(4)
        events = await gateway.settled(8)
        assert [event.outcome for event in events[4:]] == ["cached"] * 4
        assert all(event.avoided.prompt_tokens for event in events[4:])


async def test_subscriptions_never_share(cached: Run, tables: SQLiteTables) -> None:
    """What one subscription was answered is no answer for another, in memory or in the table."""
    async with cached(SEMANTIC, tables) as one, cached(SEMANTIC, tables) as other:
        await verdicts(one, {})
        assert await verdicts(one, {"key": OTHER_KEY}, {"key": OTHER_KEY}) == ["miss", "hit"]
        assert await verdicts(other, {}) == ["hit"]
        assert await verdicts(other, {"key": OTHER_KEY, "text": "Another question"}) == ["miss"]
        assert {event.subscription for event in other.events if event.outcome == "cached"} == {"team-a"}


async def test_an_answer_is_over_after_its_time(cached: Run, tables: SQLiteTables) -> None:
    """A kept answer serves for `ttl_seconds` and no longer, on the instance that kept it and on another."""
    clock = ShiftedClock()
    cache = {"kind": "exact", "ttl_seconds": 60}
    async with cached(cache, tables, clock) as one, cached(cache, tables, clock) as other:
        assert await verdicts(one, {}) == ["miss"]
        clock.ahead = timedelta(seconds=58)
        assert await verdicts(one, {}) == ["hit"]
        assert int((await ask(one)).headers["age"]) >= 58
        clock.ahead = timedelta(seconds=61)
        assert await verdicts(other, {}) == ["miss"]
        assert await verdicts(one, {}) == ["hit"]
        clock.ahead = timedelta(seconds=200)
        assert await verdicts(one, {}) == ["miss"]


async def test_cache_control(cached: Run) -> None:
    """`no-cache` asks a backend and keeps its answer; `no-store` asks one and keeps nothing; both say bypass."""
    async with cached() as gateway:
        assert await verdicts(gateway, {"extra_headers": {"cache-control": "no-store"}}, {}) == ["bypass", "miss"]
        fresh = await ask(gateway, extra_headers={"Cache-Control": "max-age=0, No-Cache"})
        assert fresh.headers["x-gateway-cache"] == "bypass"
        assert (await ask(gateway)).content == fresh.content
        assert asked_upstream(gateway) == 3


async def test_what_has_no_one_answer_passes_by(cached: Run) -> None:
    """Requests not at temperature 0, with stored answers or with hosted tools ask a backend each time."""
    async with cached() as gateway:
        for options in ({"temperature": 0.5}, {"temperature": openai.omit}, {"store": True}):
            assert await verdicts(gateway, options, options) == ["bypass", "bypass"]
        for store in (True, openai.omit):
            answer = await gateway.openai().responses.with_raw_response.create(
                model="gpt-4o", input="Hello", temperature=0, store=store
            )
            assert answer.headers["x-gateway-cache"] == "bypass"
    async with cached({"kind": "exact", "any_temperature": True}) as gateway:
        assert await verdicts(gateway, {"temperature": openai.omit}, {"temperature": openai.omit}) == ["miss", "hit"]


async def test_requests_that_differ(cached: Run) -> None:
    """Another parameter, api-version or deployment is another request; the order of the keys is not."""
    async with cached() as gateway:
        await verdicts(gateway, {})
        assert await verdicts(gateway, {"seed": 1}, {"model": "gpt-5-mini"}) == ["miss", "miss"]
        azure = gateway.azure()
        options: Any = {"model": "gpt-4o", "temperature": 0, "messages": [{"role": "user", "content": QUESTION}]}
        raw = await azure.chat.completions.with_raw_response.create(**options)
        assert raw.headers["x-gateway-cache"] == "miss"
        async with httpx2.AsyncClient(base_url=gateway.url, headers={"api-key": KEY}) as client:
            turned = dict(reversed(options.items()))
            assert (await client.post(CHAT, json=turned)).headers["x-gateway-cache"] == "hit"


async def test_answers_that_are_not_kept(cached: Run) -> None:
    """Errors, filtered, cut or broken answers, tool calls and answers without usage are never given again."""
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}
    async with cached() as gateway:
        for options in (
            {"max_tokens": 2},
            {"text": "filter-my-completion"},
            {"text": "The weather?", "tools": [tool], "tool_choice": "required"},
        ):
            assert await verdicts(gateway, options, options) == ["miss", "miss"]
            streamed = options | {"stream": True}
            for _ in range(2):
                raw = await ask(gateway, **streamed)
                assert raw.headers["x-gateway-cache"] == "miss"
                assert [chunk async for chunk in raw.parse()]
        for _ in range(2):
            with pytest.raises(openai.BadRequestError) as refused:
                await ask(gateway, "content-filter-me")
            assert refused.value.response.headers["x-gateway-cache"] == "miss"
        await gateway.simulators["first"].inject(UsageMissing(times=1), Cut(after_chunks=6, times=1))
        assert await verdicts(gateway, {"text": "no usage"}) == ["miss"]
        with pytest.raises(openai.APIError):
            assert [chunk async for chunk in (await ask(gateway, "no usage", stream=True)).parse()]
        assert await verdicts(gateway, {"text": "no usage"}) == ["miss"]
        assert not [event for event in gateway.events if event.outcome == "cached"]


async def test_off_means_off(gateway: RunningGateway, cached: Run) -> None:
    """Without a cache, or for a deployment that it does not name, there is no header and no hit."""
    assert await verdicts(gateway, {}, {}) == ["", ""]
    async with cached({"kind": "exact", "deployments": ["embed"]}) as other:
        assert await verdicts(other, {}, {}) == ["", ""]


async def test_the_same_question_in_other_words(cached: Run, tables: SQLiteTables) -> None:
    """A similar question gets the kept answer, on any instance; the vectors are charged to the subscription."""
    similar = {"text": "Please, how do I reset the password of my mail account?"}
    async with cached(SEMANTIC, tables) as one, cached(SEMANTIC, tables) as other:
        first = await ask(one)
        chat, vector = await one.settled(2)
        assert (chat.operation, vector.operation, vector.deployment) == ("chat/completions", "embeddings", "embed")
        assert vector.subscription == "team-a"
        assert vector.meters.prompt_tokens
        await written(tables, 2)
        answer = await ask(other, **similar)
        assert answer.headers["x-gateway-cache"] == "hit"
        assert answer.content == first.content
        assert (await ask(one, **similar)).content == first.content
        assert {event.outcome for event in await other.settled(2)} == {"completed", "cached"}


@pytest.mark.parametrize(
    ("text", "context"),
    [
        ("How do I reset the password of my mail account 2?", {}),
        ("How do I not reset the password of my mail account?", {}),
        ("How do I reset the password of my mail account in Lyon?", {}),
        ("How do I paint the legs of my desk?", {}),
        ("Please, how do I reset the password of my mail account?", {"seed": 1}),
    ],
)
async def test_near_misses(cached: Run, text: str, context: dict[str, Any]) -> None:
    """Another number, name, "not", subject or context is another question, however near its vector is."""
    async with cached(SEMANTIC) as gateway:
        await ask(gateway)
        await gateway.settled(2)
        assert (await ask(gateway, text, **context)).headers["x-gateway-cache"] == "miss"
        assert (await ask(gateway, f"Please, {QUESTION.lower()}")).headers["x-gateway-cache"] == "hit"


async def test_without_vectors_the_cache_is_exact(cached: Run) -> None:
    """Where embeddings fail, calls are answered all the same, and equal requests still hit."""
    async with cached(SEMANTIC) as gateway:
        for simulator in gateway.simulators.values():
            await simulator.inject(Status(status=400, operation="embeddings"))
        assert await verdicts(gateway, {}, {}) == ["miss", "hit"]
        assert (await ask(gateway, f"Please, {QUESTION}")).headers["x-gateway-cache"] == "miss"


async def test_two_instances_share_by_the_table(cached: Run, tables: SQLiteTables) -> None:
    """An answer of more than one column, kept by one instance, comes out of another whole."""
    options: Any = {"model": "embed", "input": [f"Text {number}" for number in range(20)], "encoding_format": "float"}
    async with cached(tables=tables) as one, cached(tables=tables) as other:
        kept = await one.openai().embeddings.with_raw_response.create(**options)
        assert len(kept.content) > 2 * COLUMN
        await written(tables, 1)
        found = await other.openai().embeddings.with_raw_response.create(**options)
        assert found.headers["x-gateway-cache"] == "hit"
        assert found.content == kept.content
        assert asked_upstream(one, "embeddings") == 1


async def test_slow_storage(cached: Run) -> None:
    """Where storage does not answer, a call waits for it once, for half a second, and memory goes on serving."""

    async def silence() -> None:
        await asyncio.Event().wait()

    tables = MemoryTables()
    async with cached(tables=tables) as gateway:
        tables.before = silence
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await verdicts(gateway, {}, {}, {"text": "Another"}, {"text": "Another"}) == ["miss", "hit"] * 2
        assert 0.4 < loop.time() - began < 2


async def test_over_answers_are_deleted(cached: Run) -> None:
    """A later write into the same partition deletes what is over, so that the table does not grow for ever."""
    tables, clock = MemoryTables(), ShiftedClock()

    async def questions(other_than: set[Any]) -> set[Any]:
        """Return the rows of questions once there is one, and none of these."""
        async with asyncio.timeout(30):
            while True:
                found = {key for key in tables.rows if key[0] == "cache" and len(key[1]) > 64}
                if found and not found & other_than:
                    return found
                await asyncio.sleep(0.005)

    async with cached(SEMANTIC | {"ttl_seconds": 60}, tables, clock) as gateway:
        await ask(gateway, "One question")
        first = await questions(set())
        clock.ahead = timedelta(seconds=4000)
        await ask(gateway, "Two questions")
        assert len(await questions(first)) == 1
