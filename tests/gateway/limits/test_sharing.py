"""Limits across instances: processes of their own over one store, and what happens when the store is away."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import BudgetExceeded, GatewayError, QuotaExceeded, RateLimited
from gateway.limits.limiter import Limiter
from gateway.limits.sharing import EXCHANGE_SECONDS, Sharing
from local.tables import SQLiteTables
from seams.clock import SystemClock
from seams.tables import Operation, Table, TableUnavailable
from tests.clocks import ShiftedClock
from tests.gateway.limited_calls import CentPerToken, NothingCharged, call_of, subscription_of, used

ROOT = Path(__file__).parents[3]
INSTANCES = 4


@pytest.fixture(params=["sqlite", "azurite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'tables.db'}"
    connection: str = request.getfixturevalue("azurite")
    return connection


async def passed(store: str, fields: dict[str, Any], reserved: int, settled: int) -> list[int]:
    """Return how many requests passed at each of several processes that begin at one moment."""
    arguments = ["-m", "tests.gateway.sharing_instance", store, json.dumps(fields), str(reserved), str(settled)]
    pipe = asyncio.subprocess.PIPE
    running = [
        await asyncio.create_subprocess_exec(sys.executable, *arguments, cwd=ROOT, stdin=pipe, stdout=pipe)
        for _ in range(INSTANCES)
    ]
    try:
        async with asyncio.timeout(60):
            for process in running:
                assert process.stdout is not None
                assert await process.stdout.readline() == b"ready\n"
            said = await asyncio.gather(*(process.communicate(b"\n") for process in running))
    finally:
        for process in running:
            if process.returncode is None:
                process.kill()
                await process.wait()
    results = [json.loads(out) for out, _ in said]
    assert all(result["reachable"] for result in results)
    return [result["passed"] for result in results]


async def test_requests_per_minute_across_processes(store: str) -> None:
    """Four instances together let the limit through, and at most a slice (a tenth) each beyond it."""
    counts = await passed(store, {"limits": {"requests_per_minute": 300}}, 0, 0)
    assert 300 <= sum(counts) <= 300 + 30 * INSTANCES


async def test_a_quota_across_processes(store: str) -> None:
    """Four instances together use the quota up, and at most a slice (a hundredth) each beyond it."""
    counts = await passed(store, {"quota": {"tokens": 20_000, "per": "month"}}, 100, 60)
    tokens = sum(counts) * 60
    assert 20_000 - 100 * INSTANCES <= tokens <= 20_000 + 200 * INSTANCES


@dataclass
class StoppableTables:
    """Tables that fail, or are silent, when told to."""

    tables: SQLiteTables
    failing: bool = False
    silent: bool = False
    lose_answers: bool = False
    calls: int = 0

    async def table(self, name: str) -> Table:
        await self.pass_on()
        return StoppableTable(self, await self.tables.table(name))

    async def pass_on(self) -> None:
        self.calls += 1
        if self.failing:
            raise TableUnavailable("switched off")
        if self.silent:
            await asyncio.Event().wait()

    async def close(self) -> None:
        await self.tables.close()


@dataclass
class StoppableTable:
    owner: StoppableTables
    table: Table

    async def get(self, partition: str, row: str) -> Any:
        await self.owner.pass_on()
        return await self.table.get(partition, row)

    async def query(
        self,
        partition: str | None = None,
        first: str = "",
        end: str | None = None,
        columns: Sequence[str] | None = None,
        *,
        in_order: bool = False,
    ) -> AsyncIterator[Any]:
        await self.owner.pass_on()
        async for entity in self.table.query(partition, first, end, columns, in_order=in_order):
            yield entity

    async def transact(self, operations: Sequence[Operation]) -> list[str | None]:
        await self.owner.pass_on()
        etags = await self.table.transact(operations)
        if self.owner.lose_answers:
            self.owner.lose_answers = False
            raise TableUnavailable("the answer was lost")
        return etags


class Charged:
    """A ledger that says what it was told to say."""

    def __init__(self, tokens: int, amount: str) -> None:
        self.tokens = tokens
        self.amount = Decimal(amount)
        self.asked: list[tuple[str, str | None, date]] = []

    async def used(self, subscription: str, deployment: str | None, first: date) -> tuple[int, Decimal]:
        self.asked.append((subscription, deployment, first))
        return self.tokens, self.amount


@pytest.fixture
async def tables(tmp_path: Path) -> AsyncIterator[StoppableTables]:
    stoppable = StoppableTables(SQLiteTables(tmp_path / "tables.db"))
    yield stoppable
    await stoppable.close()


@pytest.fixture
async def instances(tables: StoppableTables) -> AsyncIterator[Any]:
    """Return a function that makes one more instance over the same tables."""
    made: list[Limiter] = []

    def make(charges: Any = None, clock: Any = None) -> Limiter:
        clock = clock or SystemClock()
        sharing = Sharing(
            tables, clock, charges or NothingCharged(), instance=f"instance-{len(made)}", random=lambda: 0.5
        )
        made.append(Limiter(clock, CentPerToken(), sharing))
        return made[-1]

    yield make
    for limiter in made:
        await limiter.close()


async def attempt(limiter: Limiter, fields: dict[str, Any], reserved: int = 0, settled: int | None = None) -> Any:
    """Reserve, and settle where told to; return the call, or the refusal."""
    call = call_of(subscription_of(fields), reserved)
    try:
        await limiter.reserve(call)
    except GatewayError as refusal:
        return refusal
    if settled is not None and call.claim is not None:
        call.claim.settle([used(settled)] if settled else [])
    return call


async def count(limiter: Limiter, fields: dict[str, Any], times: int, reserved: int = 0) -> int:
    """Return how many of so many attempts at once pass."""
    results = await asyncio.gather(*(attempt(limiter, fields, reserved) for _ in range(times)))
    return sum(not isinstance(result, GatewayError) for result in results)


async def test_one_instance_is_exact(instances: Any) -> None:
    """A cold instance that is alone lets exactly the limit through, however many come at once."""
    assert await count(instances(), {"limits": {"requests_per_minute": 100}}, 150) == 100
    assert await count(instances(), {"deployment_limits": {"gpt-4o": {"concurrent": 7}}}, 20) == 7


async def test_what_another_instance_took(instances: Any) -> None:
    """An instance that was told of nothing asks before it takes more than its slice, and then knows."""
    one, two = instances(), instances()
    limits = {"limits": {"requests_per_minute": 100}}
    assert await count(one, limits, 60) == 60
    assert 40 <= await count(two, limits, 100) <= 50


async def test_requests_at_once_everywhere(instances: Any) -> None:
    """What runs at one instance counts at the other, until it is over and told."""
    one, two = instances(), instances()
    limits = {"limits": {"concurrent": 10}}
    call = await attempt(one, limits)
    assert await count(one, limits, 8) == 8
    assert await count(two, limits, 5) <= 2
    call.claim.settle([])
    async with asyncio.timeout(10):
        while isinstance(await attempt(two, limits), RateLimited):
            await asyncio.sleep(0.05)


async def test_a_restart_does_not_forget(instances: Any) -> None:
    """A new instance knows what the one before it used of the month, from its first request on."""
    month = {"budget": {"amount": "1.00", "per": "month", "hard": True}}
    one = instances()
    assert not isinstance(await attempt(one, month, 90, 90), GatewayError)
    await one.close()
    two = instances()
    refusal = await attempt(two, month, 11)
    assert isinstance(refusal, BudgetExceeded)
    assert "0.1000 are left" in refusal.message
    assert not isinstance(await attempt(two, month, 10, 10), GatewayError)
    assert isinstance(await attempt(two, month, 1), BudgetExceeded)


async def test_counters_begin_with_the_ledger(instances: Any) -> None:
    """Where no row is, or one that says less, the month begins with what was charged."""
    fields = {"quota": {"tokens": 100, "per": "week"}, "budget": {"amount": "5", "per": "month", "hard": True}}
    charged = Charged(95, "1.00")
    assert isinstance(await attempt(instances(charged), fields, 6), QuotaExceeded)
    two = instances(Charged(0, "0"))
    async with asyncio.timeout(30):
        while isinstance(await attempt(two, fields, 5, 5), GatewayError):
            await asyncio.sleep(0.05)
    assert isinstance(await attempt(two, fields, 1), QuotaExceeded)
    today = datetime.now(UTC).date()
    monday, first = today - timedelta(days=today.weekday()), today.replace(day=1)
    assert set(charged.asked) == {("team-a", None, monday), ("team-a", None, first)}


async def test_a_new_period(instances: Any) -> None:
    """When the month is over, the first request of the next one finds the quota whole."""
    clock = ShiftedClock()
    limiter = instances(clock=clock)
    fields = {"quota": {"tokens": 100, "per": "month"}}
    assert not isinstance(await attempt(limiter, fields, 100, 100), GatewayError)
    assert isinstance(await attempt(limiter, fields, 1), QuotaExceeded)
    clock.ahead = timedelta(days=32)
    async with asyncio.timeout(30):
        while isinstance(await attempt(limiter, fields, 100, 100), GatewayError):
            await asyncio.sleep(0.02)
    assert isinstance(await attempt(limiter, fields, 1), QuotaExceeded)


async def test_storage_that_fails(tables: StoppableTables, instances: Any) -> None:
    """Without storage each instance keeps the whole limit by itself, and nobody waits."""
    tables.failing = True
    limiter = instances()
    async with asyncio.timeout(EXCHANGE_SECONDS):
        assert await count(limiter, {"limits": {"requests_per_minute": 50}}, 80) == 50
        assert not isinstance(await attempt(limiter, {"quota": {"tokens": 10**6, "per": "day"}}, 10), GatewayError)


async def test_storage_that_is_silent(tables: StoppableTables, instances: Any) -> None:
    """The first to need it waits for a bounded time, those after it not at all."""
    tables.silent = True
    limiter = instances()
    limits = {"limits": {"requests_per_minute": 50}}
    async with asyncio.timeout(EXCHANGE_SECONDS + 1):
        assert await count(limiter, limits, 40) == 40
    async with asyncio.timeout(EXCHANGE_SECONDS):
        assert await count(limiter, limits, 40) == 10


async def test_a_quota_without_storage(tables: StoppableTables, instances: Any) -> None:
    """A quota goes by what its instance saw last: used up stays used up, and what is left may be used."""
    one, two = instances(), instances()
    fields = {"quota": {"tokens": 1000, "per": "month"}}
    assert not isinstance(await attempt(one, fields, 700, 700), GatewayError)
    await one.close()
    assert not isinstance(await attempt(two, fields, 100, 100), GatewayError)
    tables.failing = True
    assert not isinstance(await attempt(two, fields, 150, 150), GatewayError)
    assert isinstance(await attempt(two, fields, 51), QuotaExceeded)


async def test_storage_that_comes_back(tables: StoppableTables, instances: Any) -> None:
    """What was taken in an outage is told when it is over."""
    one = instances()
    limits = {"limits": {"requests_per_minute": 50}}
    tables.failing = True
    assert await count(one, limits, 45) == 45
    tables.failing = False
    two = instances()
    async with asyncio.timeout(10):
        while await count(two, limits, 1) == 1:
            await asyncio.sleep(0.3)


async def test_an_answer_that_was_lost(tables: StoppableTables, instances: Any) -> None:
    """A write that took place although its answer was lost counts once."""
    one = instances()
    fields = {"quota": {"tokens": 100, "per": "month"}}
    tables.lose_answers = True
    assert not isinstance(await attempt(one, fields, 60, 60), GatewayError)
    two = instances()
    async with asyncio.timeout(10):
        while not isinstance(await attempt(two, fields, 50, 0), QuotaExceeded):
            await asyncio.sleep(0.1)
    assert not isinstance(await attempt(two, fields, 40, 40), GatewayError)


async def test_subscriptions_without_limits(tables: StoppableTables, instances: Any) -> None:
    """No limits, no claim, no storage."""
    limiter = instances()
    call = await attempt(limiter, {})
    assert call.claim is None
    assert call.limit_headers is None
    assert tables.calls == 0
