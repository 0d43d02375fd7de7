"""Cooldowns that instances tell each other."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from local.simulator.faults import Status
from local.tables import SQLiteTables

HELLO: Any = [{"role": "user", "content": "The printer on floor three is on fire."}]
THROTTLED = Status(status=429, headers={"retry-after-ms": "30000"}, times=1)


@pytest.fixture
async def tables(tmp_path: Path) -> AsyncIterator[SQLiteTables]:
    opened = SQLiteTables(tmp_path / "tables.sqlite")
    yield opened
    await opened.close()


async def backend_of(gateway: Any) -> tuple[str, str]:
    raw = await gateway.azure().chat.completions.with_raw_response.create(model="gpt-4o", messages=HELLO)
    return raw.headers["x-gateway-backend"], raw.headers["x-gateway-attempts"]


async def test_a_cold_instance_does_not_knock(gateway_with: Any, tables: SQLiteTables) -> None:
    """An instance that starts while a backend is throttled goes to the next one at once."""
    async with gateway_with(tables=tables) as one:
        await one.simulators["first"].inject(THROTTLED)
        assert await backend_of(one) == ("second", "2")
        table = await tables.table("cooldowns")
        async with asyncio.timeout(30):
            while not [row async for row in table.query("cooldowns")]:
                await asyncio.sleep(0.01)
        asked = len(one.simulators["first"].requests)
        async with gateway_with(tables=tables) as other:
            assert await backend_of(other) == ("second", "1")
        assert len(one.simulators["first"].requests) == asked


async def test_without_storage_each_goes_by_what_it_saw(gateway: Any) -> None:
    """With the tables out of reach a throttled backend is found out by asking it, and calls succeed."""
    await gateway.simulators["first"].inject(THROTTLED)
    assert await backend_of(gateway) == ("second", "2")
    assert await backend_of(gateway) == ("second", "1")
