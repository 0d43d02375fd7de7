"""Usage events as a stream delivers them, and stores to keep them in."""

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from chargeback.prices import Prices
from gateway.usage import Meters, UsageEvent, encode
from local.tables import SQLiteTables
from seams.events import ReceivedEvent
from seams.tables import Tables
from tests.chargeback.staging import Deliver, MakeEvent
from tests.unordered_tables import UnorderedTables

TIME = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def make_event() -> MakeEvent:
    def make(**changes: Any) -> UsageEvent:
        defaults: dict[str, Any] = {
            "id": os.urandom(8).hex(),
            "time": TIME,
            "subscription": "service-desk",
            "operation": "chat/completions",
            "deployment": "gpt-4o",
            "model": "gpt-4o-2024-08-06",
            "backend": "eastus",
            "deployment_type": "global",
            "status": 200,
            "outcome": "completed",
            "meters": Meters(prompt_tokens=100, cached_tokens=20, completion_tokens=10, reasoning_tokens=5),
        }
        return UsageEvent(**defaults | changes)

    return make


@pytest.fixture
def deliver() -> Deliver:
    def wrap(event: UsageEvent | bytes, sequence_number: int, partition: str = "0") -> ReceivedEvent:
        body = event if isinstance(event, bytes) else encode(event)
        return ReceivedEvent(body, partition, sequence_number, TIME)

    return wrap


@pytest.fixture(scope="session")
def prices() -> Prices:
    return Prices()


@pytest.fixture
async def tables(tmp_path: Path) -> AsyncIterator[Tables]:
    """Yield tables that promise no order of rows."""
    store = UnorderedTables(SQLiteTables(tmp_path / "tables.db"))
    yield store
    await store.close()
