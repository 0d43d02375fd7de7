"""What is left of calls whose instance is killed: an intent in the stream, and an estimated line on the statement."""

import asyncio
import contextlib
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI

from gateway import usage
from gateway.metering.tokens import VOCABULARIES
from gateway.usage import Intent, Record, UsageEvent
from local.simulator.faults import Stall
from local.simulator.server import Simulator, serve_all
from local.simulator.settings import BackendSettings
from local.simulator.tokens import Tokenizers
from tests.gateway.catalogs import MODELS, UPSTREAM_KEY, catalog_of
from tests.proofs.tollgate import KEYS, Tollgate, charged, collected, findings, invoiced, running_tollgate, statements

ANSWERED, CUT_OFF = 5, 6


def records(state: Path) -> list[Record]:
    """Return everything that the hub holds, by partition and sequence number."""
    with contextlib.closing(sqlite3.connect(state / "events-usage.sqlite")) as connection:
        rows = connection.execute("SELECT body FROM events ORDER BY partition, sequence").fetchall()
    return [usage.decode(body) for (body,) in rows]


async def chat(url: str, number: int) -> Any:
    async with AsyncOpenAI(base_url=f"{url}/openai/v1/", api_key=KEYS["team-a"], max_retries=0) as client:
        return await client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": f"Call {number}: why did the VPN drop?"}]
        )


@asynccontextmanager
async def half_read(url: str) -> AsyncIterator[None]:
    """Hold a stream whose backend has fallen silent after some chunks."""
    async with AsyncOpenAI(base_url=f"{url}/openai/v1/", api_key=KEYS["team-b"], max_retries=0) as client:
        stream = await client.chat.completions.create(
            model="gpt-4o",
            messages=[{"role": "user", "content": "Tell me everything about routers, please."}],
            stream=True,
        )
        async with stream:
            chunks = aiter(stream)
            for _ in range(3):
                await anext(chunks)
            yield


async def killed_in_mid_stream(tollgate: Tollgate, state: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(CUT_OFF):
            await stack.enter_async_context(half_read(tollgate.url))
        async with asyncio.timeout(10):
            while len([record for record in records(state) if isinstance(record, Intent)]) < ANSWERED + CUT_OFF:
                await asyncio.sleep(0.01)
        await tollgate.kill()


@asynccontextmanager
async def backends() -> AsyncIterator[dict[str, Simulator]]:
    settings = [BackendSettings(name=name, api_key=UPSTREAM_KEY, deployments=MODELS) for name in ("first", "second")]
    async with serve_all(settings, tokenizers=await asyncio.to_thread(Tokenizers, VOCABULARIES)) as simulators:
        yield simulators


@pytest.mark.timeout(180)
async def test_calls_of_a_killed_instance(tmp_path: Path) -> None:
    """Each call that was under way is a line of its own, estimated and said to be orphaned; the others are exact."""
    settings = {"ORPHAN_AFTER_SECONDS": "2", "IDLE_TIMEOUT_SECONDS": "60"}
    async with backends() as simulators:
        catalog = catalog_of(simulators)
        del catalog["subscriptions"]["team-b"]["deployments"]
        async with running_tollgate(catalog, tmp_path, **settings) as tollgate:
            for number in range(ANSWERED):
                await chat(tollgate.url, number)
            found = await statements(tollgate.url, ANSWERED)
            assert charged(found) == invoiced(simulators)
            for simulator in simulators.values():
                await simulator.inject(Stall(after_chunks=4, times=CUT_OFF))
            await killed_in_mid_stream(tollgate, tmp_path)
        kept = records(tmp_path)
        assert Counter(type(record) for record in kept) == {Intent: ANSWERED + CUT_OFF, UsageEvent: ANSWERED}
        async with running_tollgate(catalog, tmp_path, **settings) as tollgate:
            found = await statements(tollgate.url, ANSWERED + CUT_OFF)
            await collected(tollgate.url)
    assert await findings(tmp_path) == []
    exact, cut = (statement["lines"] for statement in found)
    assert sum(line["requests"] for line in exact) == ANSWERED
    assert not any(line["estimated_requests"] or line["orphaned_requests"] for line in exact)
    assert sum(line["requests"] for line in cut) == CUT_OFF
    assert sum(line["orphaned_requests"] for line in cut) == sum(line["estimated_requests"] for line in cut) == CUT_OFF
    announced = [record for record in kept if isinstance(record, Intent) and record.subscription == "team-b"]
    assert sum(line["prompt_tokens"] for line in cut) == sum(intent.prompt_tokens for intent in announced) > 0
