"""A stand-in in the test's own process."""

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from local.eventhubs.server import StandIn, serve

HUBS = {"usage": 4, "prompts": 1}


@pytest.fixture
async def stand_in(tmp_path: Path) -> AsyncIterator[StandIn]:
    async with serve(tmp_path / "hubs", HUBS, dice=random.Random(1)) as opened:
        yield opened
