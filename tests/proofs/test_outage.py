"""The promise of the bill while its stores are away: the stream alone, or the stream and the tables.

The stores are files here, and are away because somebody else holds their locks.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.metering.tokens import VOCABULARIES
from local.simulator.server import Simulator, serve_all
from local.simulator.settings import BackendSettings
from local.simulator.tokens import Tokenizers
from tests.gateway.catalogs import MODELS, OPERATOR_KEY, UPSTREAM_KEY, catalog_of
from tests.proofs.tollgate import KEYS, Tollgate, charged, collected, findings, invoiced, running_tollgate, statements

CALLS = 30


@asynccontextmanager
async def backends() -> AsyncIterator[tuple[dict[str, Any], dict[str, Simulator]]]:
    """Yield the catalog and the backends that it names."""
    settings = [BackendSettings(name=name, api_key=UPSTREAM_KEY, deployments=MODELS) for name in ("first", "second")]
    async with serve_all(settings, tokenizers=await asyncio.to_thread(Tokenizers, VOCABULARIES)) as simulators:
        catalog = catalog_of(simulators)
        del catalog["subscriptions"]["team-b"]["deployments"]
        yield catalog, simulators


@asynccontextmanager
async def product(state: Path) -> AsyncIterator[tuple[Tollgate, dict[str, Simulator]]]:
    async with backends() as (catalog, simulators), running_tollgate(catalog, state) as tollgate:
        yield tollgate, simulators


@contextlib.contextmanager
def held(file: Path) -> Iterator[None]:
    """Keep everybody else from writing into a database."""
    connection = sqlite3.connect(file, timeout=30, autocommit=True)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()


async def call(url: str, number: int) -> None:
    """Make a call, every third of them streamed; its caller must not notice any of this."""
    key = KEYS["team-a" if number % 3 else "team-b"]
    body: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": f"Call {number}."}]}
    async with httpx2.AsyncClient(base_url=url, headers={"api-key": key}, timeout=10) as client, asyncio.timeout(4):
        answer = await client.post("/v1/chat/completions", json=body | {"stream": number % 3 == 0})
    answer.raise_for_status()


async def calls(url: str) -> None:
    for first in range(0, CALLS, 10):
        await asyncio.gather(*(call(url, number) for number in range(first, first + 10)))


async def until(tollgate: Tollgate, metric: str, value: float) -> None:
    """Wait until a metric reads so much."""
    async with httpx2.AsyncClient(base_url=tollgate.url, headers={"api-key": OPERATOR_KEY}, timeout=10) as client:
        async with asyncio.timeout(60):
            while await _metric(client, metric) != value:
                await asyncio.sleep(0.1)


async def _metric(client: httpx2.AsyncClient, metric: str) -> float:
    lines = (await client.get("/metrics")).raise_for_status().text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(f"{metric} "))


def outbox_rows(state: Path) -> int:
    with contextlib.closing(sqlite3.connect(state / "tables.sqlite")) as connection:
        (count,) = connection.execute("SELECT count(*) FROM entities WHERE name = 'outbox'").fetchone()
    return int(count)


@pytest.mark.timeout(180)
async def test_a_stream_that_is_away(tmp_path: Path) -> None:
    """Callers are served, their events are in the outbox, and on the statement once the stream is back: each once."""
    async with product(tmp_path) as (tollgate, simulators):
        await calls(tollgate.url)
        await statements(tollgate.url, CALLS)
        with held(tmp_path / "events-usage.sqlite"):
            await calls(tollgate.url)
            await until(tollgate, "tollgate_usage_events_outboxed_total", CALLS)
            assert outbox_rows(tmp_path) == CALLS
        found = await statements(tollgate.url, 2 * CALLS)
        assert charged(found) == invoiced(simulators)
        await until(tollgate, "tollgate_usage_records_replayed_total", CALLS)
        assert outbox_rows(tmp_path) == 0
        await calls(tollgate.url)
        found = await statements(tollgate.url, 3 * CALLS)
        assert charged(found) == invoiced(simulators)
        assert sum(statement["requests"] for statement in found) == 3 * CALLS
        await collected(tollgate.url)
    assert await findings(tmp_path) == []


@pytest.mark.timeout(180)
async def test_both_are_away(tmp_path: Path) -> None:
    """With the tables away as well events wait in memory, and are charged once when the stores are back."""
    async with product(tmp_path) as (tollgate, simulators):
        await calls(tollgate.url)
        await statements(tollgate.url, CALLS)
        with held(tmp_path / "events-usage.sqlite"), held(tmp_path / "tables.sqlite"):
            await calls(tollgate.url)
            await until(tollgate, "tollgate_usage_events_in_memory", CALLS)
        await until(tollgate, "tollgate_usage_events_in_memory", 0)
        found = await statements(tollgate.url, 2 * CALLS)
        assert charged(found) == invoiced(simulators)
        assert sum(statement["requests"] for statement in found) == 2 * CALLS
        await until(tollgate, "tollgate_usage_events_lost_total", 0)
        await collected(tollgate.url)
    assert await findings(tmp_path) == []


@pytest.mark.timeout(180)
async def test_a_kill_between_publishing_and_deleting(tmp_path: Path) -> None:
    """What was published from the outbox and not deleted is published once more, and counts once."""
    async with backends() as (catalog, simulators):
        async with running_tollgate(catalog, tmp_path) as tollgate:
            await calls(tollgate.url)
            await statements(tollgate.url, CALLS)
            with contextlib.ExitStack() as tables:
                with held(tmp_path / "events-usage.sqlite"):
                    await calls(tollgate.url)
                    await until(tollgate, "tollgate_usage_events_outboxed_total", CALLS)
                    tables.enter_context(held(tmp_path / "tables.sqlite"))
                async with asyncio.timeout(60):
                    while replayed(tmp_path) < CALLS:
                        await asyncio.sleep(0.02)
                await tollgate.kill()
        assert outbox_rows(tmp_path) == CALLS
        async with running_tollgate(catalog, tmp_path) as tollgate:
            async with asyncio.timeout(60):
                while outbox_rows(tmp_path):
                    await asyncio.sleep(0.1)
            assert replayed(tmp_path) >= 2 * CALLS
            # What was published twice lies before these in the stream: it is counted, or not, when they are.
            await calls(tollgate.url)
            found = await statements(tollgate.url, 3 * CALLS)
            assert charged(found) == invoiced(simulators)
            assert sum(statement["requests"] for statement in found) == 3 * CALLS
            await collected(tollgate.url)
        assert await findings(tmp_path) == []


def replayed(state: Path) -> int:
    """Count the events in the stream that are marked so."""
    with contextlib.closing(sqlite3.connect(state / "events-usage.sqlite")) as connection:
        replayed_bodies = "SELECT count(*) FROM events WHERE instr(body, CAST('\"replayed\":true' AS BLOB)) > 0"
        (count,) = connection.execute(replayed_bodies).fetchone()
    return int(count)
