"""Background responses: what they used is billed once, whoever is told of it first."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import openai
import pytest

from gateway.catalog.catalog_file import load_catalog
from gateway.metering.background import BackgroundBills
from gateway.metering.open_responses import OpenResponses
from gateway.metering.tokens import TokenCounter
from gateway.publishing.delivery import Delivery
from gateway.publishing.outbox import Outbox
from gateway.publishing.publisher import UsagePublisher
from gateway.upstream.http11 import Http11Upstream
from gateway.usage import UsageEvent
from seams.tables import TableUnavailable
from tests.clocks import ShiftedClock
from tests.gateway.catalogs import KEY, UPSTREAM_KEY, catalog_of, key_hash
from tests.gateway.memory_tables import MemoryTables
from tests.gateway.running import NoTokens, RecordingStream, RunningGateway, run_gateway
from tests.served import served

USAGE = {"input_tokens": 30, "output_tokens": 500, "output_tokens_details": {"reasoning_tokens": 400}}


@dataclass
class Researcher:
    """A backend whose one response goes through the states that a test gives it."""

    state: str = "queued"
    status: int = 200
    usage: dict[str, Any] | None = None
    seen: list[str] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def response(self) -> dict[str, Any]:
        return {"id": "resp_1", "object": "response", "status": self.state, "model": "o3-2025-04-16"} | {
            "usage": self.usage,
            "output": [],
        }

    def completes(self) -> None:
        self.state, self.usage = "completed", USAGE

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        self.seen.append(f"{scope['method']} {scope['path']}?{scope['query_string'].decode()}")
        if b'"stream":true' in body.replace(b" ", b"") or b"stream=true" in scope["query_string"]:
            await self._stream(receive, send)
            return
        await send({"type": "http.response.start", "status": self.status, "headers": JSON})
        await send({"type": "http.response.body", "body": json.dumps(self.response).encode()})

    async def _stream(self, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": EVENTS})
        await send({"type": "http.response.body", "body": event("response.created", self.response), "more_body": True})
        if self.state == "completed":
            body = event("response.completed", self.response)
            await send({"type": "http.response.body", "body": body})
        else:
            await receive()
            self.left.set()


JSON = [(b"content-type", b"application/json")]
EVENTS = [(b"content-type", b"text/event-stream")]


def event(kind: str, response: dict[str, Any]) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, 'response': response})}\n\n".encode()


@dataclass
class Bench:
    """A gateway in front of the researcher, and the timer's work on the same tables."""

    gateway: RunningGateway
    bills: BackgroundBills
    stream: RecordingStream
    tables: MemoryTables
    clock: ShiftedClock
    backend: Researcher

    async def start(self, **options: Any) -> Any:
        return await self.gateway.openai().responses.create(model="o3", input="Find out", background=True, **options)

    async def billed(self) -> list[UsageEvent]:
        """Return what the timer publishes when it is due."""
        before = len(self.stream.bodies)
        await self.bills.run()
        return RunningGateway("", self.stream, {}).events[before:]

    async def remembered(self, count: int) -> None:
        """Return when so many responses are open."""
        async with asyncio.timeout(10):
            while sum(name == "background" for name, _, _ in self.tables.rows) != count:
                await asyncio.sleep(0.005)


@pytest.fixture
async def bench(counter: TokenCounter) -> AsyncIterator[Bench]:
    async with bench_of(counter, MemoryTables()) as bench:
        yield bench


@asynccontextmanager
async def bench_of(counter: TokenCounter, tables: MemoryTables) -> AsyncIterator[Bench]:
    backend, clock, stream = Researcher(), ShiftedClock(), RecordingStream()
    async with served(backend) as url:
        catalog = catalog_of({}, subscriptions={"team-a": {"key_hashes": [key_hash(KEY)], "cost_centre": "4711"}})
        catalog["backends"] = {"lab": {"endpoint": url, "auth": {"api_key": "setting:UPSTREAM_KEY"}}}
        catalog["deployments"] = {"o3": {"model": "o3", "pool": [{"backend": "lab"}]}}
        parsed = load_catalog(json.dumps(catalog), {"UPSTREAM_KEY": UPSTREAM_KEY}.get)
        upstream = Http11Upstream(connect_timeout=2)
        publisher = UsagePublisher(Delivery(stream, Outbox(tables, clock, "timer")))
        bills = BackgroundBills(
            OpenResponses(tables, clock), parsed, upstream, tokens=NoTokens(), publisher=publisher, clock=clock
        )
        async with run_gateway({}, counter, catalog=catalog, tables=tables, clock=clock, intents=False) as gateway:
            yield Bench(gateway, bills, stream, tables, clock, backend)
        await publisher.close()
        await upstream.close()


async def test_one_that_nobody_fetches(bench: Bench) -> None:
    """The timer bills a response when it is done, once, to whom it belongs, under the response's id."""
    started = await bench.start(extra_headers={"x-workload-id": "nightly"})
    assert started.status == "queued"
    await bench.remembered(1)
    bench.backend.state = "in_progress"
    assert await bench.billed() == []
    bench.backend.completes()
    (bill,) = await bench.billed()
    (call,) = await bench.gateway.settled(1)
    assert (bill.id, bill.parent, bill.replayed, bill.outcome) == ("resp_1", call.id, True, "completed")
    assert (bill.subscription, bill.cost_centre, bill.labels) == ("team-a", "4711", {"workload": "nightly"})
    assert (bill.model, bill.model_version, bill.backend, bill.operation) == ("o3", "2025-04-16", "lab", "responses")
    assert (bill.meters.prompt_tokens, bill.meters.completion_tokens, bill.meters.reasoning_tokens) == (30, 500, 400)
    assert (call.meters.prompt_tokens, call.meters.completion_tokens) == (0, 0)
    await bench.remembered(0)
    assert await bench.billed() == []


@pytest.mark.parametrize("query", [{}, {"stream": "true"}], ids=["JSON", "stream"])
async def test_one_that_is_fetched(bench: Bench, query: dict[str, str]) -> None:
    """A fetch that tells the usage bills it, by JSON or as a stream, and leaves the timer nothing to do."""
    await bench.start()
    await bench.remembered(1)
    client = bench.gateway.openai()
    await client.responses.retrieve("resp_1")
    await bench.remembered(1)
    bench.backend.completes()
    await client.get("/responses/resp_1", cast_to=object, options={"params": query})
    await bench.remembered(0)
    bills = [event for event in await bench.gateway.settled(4) if event.id == "resp_1"]
    assert [(bill.meters.prompt_tokens, bill.replayed) for bill in bills] == [(30, True)]
    assert await bench.billed() == []


async def test_a_background_stream_that_is_read_to_its_end(bench: Bench) -> None:
    """Its tokens are billed under the response's id alone, so that a later fetch bills nothing anew."""
    bench.backend.completes()
    stream = await bench.start(stream=True)
    assert [event.type async for event in stream][-1] == "response.completed"
    await bench.gateway.openai().responses.retrieve("resp_1")
    events = await bench.gateway.settled(4)
    assert sorted((event.id == "resp_1", event.meters.prompt_tokens) for event in events) == [
        (False, 0),
        (False, 0),
        (True, 30),
        (True, 30),
    ]
    await bench.remembered(0)


async def test_a_background_stream_whose_caller_leaves(bench: Bench) -> None:
    """The response goes on without its caller, and is billed when it is done."""
    stream = await bench.start(stream=True)
    async for _ in stream:
        break
    await stream.close()
    async with asyncio.timeout(10):
        await bench.backend.left.wait()
    await bench.remembered(1)
    bench.backend.completes()
    assert [bill.meters.completion_tokens for bill in await bench.billed()] == [500]


async def test_it_is_asked_for_as_it_was_made(bench: Bench) -> None:
    """One that was made with an api-version is asked for with it, at its home."""
    await bench.gateway.azure(api_version="2025-04-01-preview").responses.create(model="o3", input="x", background=True)
    await bench.remembered(1)
    await bench.billed()
    assert bench.backend.seen[-1] == "GET /openai/responses/resp_1?api-version=2025-04-01-preview"


@pytest.mark.parametrize(
    ("state", "status", "open_after"),
    [("failed", 200, 0), ("cancelled", 200, 0), ("queued", 404, 0), ("queued", 503, 1), ("queued", 401, 1)],
)
async def test_ends_without_a_bill(bench: Bench, state: str, status: int, open_after: int) -> None:
    """What failed, was cancelled or deleted is forgotten; what cannot be asked for now is asked again."""
    await bench.start()
    await bench.remembered(1)
    bench.backend.state, bench.backend.status = state, status
    assert await bench.billed() == []
    await bench.remembered(open_after)


async def test_what_is_never_done_is_given_up(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """After two days a response is asked for once more, and then an error in the log."""
    await bench.start()
    await bench.remembered(1)
    bench.clock.ahead = timedelta(days=2, seconds=1)
    assert await bench.billed() == []
    await bench.remembered(0)
    assert "resp_1 of team-a is given up unbilled" in caplog.text


async def test_without_storage(counter: TokenCounter, caplog: pytest.LogCaptureFixture) -> None:
    """Where it cannot be remembered, the caller has its answer all the same, and the log says what that means."""

    async def out() -> None:
        raise TableUnavailable("out")

    tables = MemoryTables()
    async with bench_of(counter, tables) as bench:
        tables.before = out
        assert (await bench.start()).id == "resp_1"
        await bench.gateway.settled(1)
        async with asyncio.timeout(10):
            while "billed only if it is fetched" not in caplog.text:
                await asyncio.sleep(0.005)
        tables.before = nothing
        with pytest.raises(openai.NotFoundError):
            await bench.gateway.openai().responses.retrieve("resp_2")


async def nothing() -> None:
    return
