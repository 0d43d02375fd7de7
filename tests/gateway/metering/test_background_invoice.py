"""Background responses of a simulated backend: what is charged is what it bills."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from gateway.catalog.catalog_file import load_catalog
from gateway.metering.background import BackgroundBills
from gateway.metering.open_responses import OpenResponses
from gateway.metering.tokens import TokenCounter
from gateway.publishing.delivery import Delivery
from gateway.publishing.outbox import Outbox
from gateway.publishing.publisher import UsagePublisher
from gateway.upstream.http11 import Http11Upstream
from local.simulator.server import Simulator, serve
from local.simulator.settings import BackendSettings
from local.simulator.tokens import Tokenizers
from tests.clocks import ShiftedClock
from tests.gateway.catalogs import MODELS, UPSTREAM_KEY, catalog_of
from tests.gateway.memory_tables import MemoryTables
from tests.gateway.running import NoTokens, RecordingStream, RunningGateway, run_gateway

SETTINGS = BackendSettings(
    name="lab", api_key=UPSTREAM_KEY, deployments=MODELS, background_ms=600_000, token_delay_ms=500
)
PATIENCE_SECONDS = 20


@pytest.fixture
def clock() -> ShiftedClock:
    return ShiftedClock()


@pytest.fixture
async def lab(tokenizers: Tokenizers, clock: ShiftedClock) -> AsyncIterator[Simulator]:
    async with serve(SETTINGS, tokenizers=tokenizers, clock=clock) as running:
        yield running


async def test_the_statement_is_the_invoice(lab: Simulator, counter: TokenCounter, clock: ShiftedClock) -> None:
    """One that is fetched, one that is left, one whose stream is left, one that is cancelled: equal to the token."""
    tables, published = MemoryTables(), RecordingStream()
    async with (
        run_gateway({"lab": lab}, counter, tables=tables, clock=clock, intents=False) as gateway,
        timer(lab, tables, published, clock) as bills,
    ):
        responses = gateway.openai().responses
        fetched, _, cancelled = [
            await responses.create(model="gpt-4o", input=text, background=True)
            for text in ("Find out", "Find out more", "Never mind")
        ]
        left = await responses.create(model="gpt-4o", input="Tell all", background=True, stream=True)
        await anext(aiter(left))
        await left.close()
        await remembered(tables, 4)
        await responses.cancel(cancelled.id)
        clock.ahead = timedelta(seconds=700)
        assert (await responses.retrieve(fetched.id)).status == "completed"
        await bills.run()
        await remembered(tables, 0)
        await gateway.settled(6)
        told = {event.id: event.meters for event in (*gateway.events, *RunningGateway("", published, {}).events)}
    usage = lab.invoice.usage()
    assert len(lab.invoice.lines) == 3
    assert sum(meters.prompt_tokens for meters in told.values()) == usage.prompt > 0
    assert sum(meters.completion_tokens for meters in told.values()) == usage.completion > 0


@asynccontextmanager
async def timer(
    lab: Simulator, tables: MemoryTables, published: RecordingStream, clock: ShiftedClock
) -> AsyncIterator[BackgroundBills]:
    """Yield what bills the responses that nobody fetches."""
    upstream, publisher = (
        Http11Upstream(connect_timeout=2),
        UsagePublisher(Delivery(published, Outbox(tables, clock, "t"))),
    )
    catalog = load_catalog(json.dumps(catalog_of({"lab": lab})), {"UPSTREAM_KEY": UPSTREAM_KEY}.get)
    responses = OpenResponses(tables, clock)
    yield BackgroundBills(responses, catalog, upstream, tokens=NoTokens(), publisher=publisher, clock=clock)
    await publisher.close()
    await upstream.close()


async def remembered(tables: MemoryTables, count: int) -> None:
    """Return when so many responses are open."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while sum(name == "background" for name, _, _ in tables.rows) != count:
            await asyncio.sleep(0.005)
