"""What the cache writes comes back the same from either kind of storage, and odd rows are no answers."""

import os
from datetime import UTC, datetime, timedelta

from gateway.cache.caching import LONGEST_ANSWER, KeptAnswer
from gateway.cache.kept_rows import KeptRows, Question
from gateway.usage import Meters
from seams.clock import SystemClock
from seams.tables import Entity, Tables, Upsert
from tests.gateway.memory_tables import MemoryTables

KEY = "ab" * 32
LATER = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
ANSWER = KeptAnswer(
    body=os.urandom(LONGEST_ANSWER),
    content_type=b"application/json",
    streamed=True,
    kept_at=LATER - timedelta(hours=1),
    expires_at=LATER,
    meters=Meters(prompt_tokens=5, completion_tokens=7),
    model="gpt-4o-2024-11-20",
    service_tier="",
    backend="first",
    deployment_type="ptu",
    region="East US",
)


async def test_rows_come_back(tables: Tables) -> None:
    """The longest answer and the questions of a context are read as they were written."""
    rows, scope = KeptRows(tables, SystemClock()), os.urandom(16).hex()
    assert await rows.answer(scope, KEY) is None
    assert await rows.questions(scope, KEY) == []
    await rows.keep(scope, KEY, ANSWER)
    assert await rows.answer(scope, KEY) == ANSWER
    for number in range(2):
        await rows.add(scope, KEY, Question([0.5, -0.25], "tokens", f"{number}" * 64, LATER))
    found = await rows.questions(scope, KEY)
    assert found is not None
    assert {question.key[0] for question in found} == {"0", "1"}
    assert found[0].vector == [0.5, -0.25]
    assert found[0].expires_at == LATER


async def test_odd_rows() -> None:
    """A row that somebody else wrote is not an answer, and harms nobody."""
    tables = MemoryTables()
    rows, table = KeptRows(tables, SystemClock()), await tables.table("cache")
    await table.transact([Upsert(Entity(f"scope-{KEY[:2]}", KEY, {"pieces": 2, "piece0": b"x"}))])
    await table.transact([Upsert(Entity(f"scope-{KEY}", "row", {"vector": b"xxx"}))])
    assert await rows.answer("scope", KEY) is None
    assert await rows.questions("scope", KEY) == []
