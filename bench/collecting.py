"""What the ledger costs: batches as the trigger hands them over, into Azurite and into memory."""

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from typing import Final

import msgspec

from bench.memory import MemoryTables
from chargeback.ledger.ledger import Ledger
from chargeback.ledger.rollups import Names, Numbered, Rollup, fold, names_of
from chargeback.prices import Prices
from gateway.usage import Intent, Meters, UsageEvent, decode_event, encode
from hosting.tables import AzureTables
from seams.events import ReceivedEvent
from seams.tables import Table, Tables

SUBSCRIPTIONS: Final = 25
MODELS: Final = ("gpt-4o", "gpt-4o-mini", "o3")
WARM_BATCHES: Final = 2
FOLDS: Final = 30
PAUSE_SECONDS: Final = 0.001


@dataclass(frozen=True, slots=True)
class Case:
    """`batch` counts usage events; with `intents` each comes behind one of its own. `details` keeps detail rows."""

    store: str
    batch: int
    details: bool
    intents: bool


CASES: Final = tuple(
    Case(store, batch, details, intents)
    for store, batch, details, intents in product(("memory", "Azurite"), (100, 1000), (False, True), (False, True))
)


class Sample(msgspec.Struct, frozen=True):
    """`rate` is usage events per second, `cpu_us` our own CPU time for one, the store's not included.

    `held_ms` is the most CPU time for which the event loop let nobody else in.
    """

    case: Case
    rate: float
    cpu_us: float
    held_ms: float


class Batches:
    """Batches of one partition, with new ids and rising numbers."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._dice = random.Random(1)  # noqa: S311 - alike in every run
        self._sequence = 0

    def next(self) -> list[ReceivedEvent]:
        batch: list[ReceivedEvent] = []
        for _ in range(self._case.batch):
            event = self._event()
            for body in (encode(intent_of(event)), encode(event)) if self._case.intents else (encode(event),):
                batch.append(ReceivedEvent(body, "0", self._sequence, event.time))
                self._sequence += 1
        return batch

    def _event(self) -> UsageEvent:
        dice = self._dice
        model = dice.choice(MODELS)
        return UsageEvent(
            id=dice.randbytes(16).hex(),
            time=datetime.now(UTC),
            subscription=f"team-{dice.randrange(SUBSCRIPTIONS):02}",
            operation="chat/completions",
            deployment=model,
            model=model,
            model_version="2024-11-20",
            backend="swedencentral",
            deployment_type="global",
            region="swedencentral",
            status=200,
            outcome="completed",
            meters=Meters(prompt_tokens=dice.randrange(4000), completion_tokens=dice.randrange(900)),
            cost_centre="4711",
            latency_ms=1200,
            first_token_ms=240,
        )


def intent_of(event: UsageEvent) -> Intent:
    return Intent(
        id=event.id,
        time=event.time,
        subscription=event.subscription,
        operation=event.operation,
        deployment=event.deployment,
        model=event.model,
        backend=event.backend,
        deployment_type=event.deployment_type,
        prompt_tokens=event.meters.prompt_tokens,
    )


async def collect(case: Case, azurite: str, seconds: float, prices: Prices) -> Sample:
    """Collect one batch after another for so many seconds of collecting; making the batches is not counted."""
    tables: Tables = MemoryTables() if case.store == "memory" else Prefixed(AzureTables.by_connection_string(azurite))
    ledger = Ledger(tables, prices, incarnation, detail_rows=case.details)
    batches = Batches(case)
    for _ in range(WARM_BATCHES):
        await ledger.collect(batches.next())
    events, wall, cpu, held = 0, 0.0, 0.0, 0.0
    while wall < seconds:
        batch, watching = batches.next(), asyncio.create_task(_longest_hold(done := asyncio.Event()))
        await asyncio.sleep(0)
        spent = await _timed(ledger.collect, batch)
        done.set()
        events, wall, cpu, held = events + case.batch, wall + spent[0], cpu + spent[1], max(held, await watching)
    await tables.close()
    return Sample(case, events / wall, cpu / events * 1e6, held * 1e3)


def fold_us(prices: Prices) -> float:
    """Return the CPU time of adding one event to its sums, in microseconds: naming its rollup and folding it in."""
    events = [decode_event(each.body) for each in Batches(Case("memory", 1000, details=False, intents=False)).next()]
    began = time.process_time()
    for first in range(0, FOLDS * len(events), len(events)):
        groups: dict[Names, list[Numbered]] = {}
        for number, event in enumerate(events, first):
            groups.setdefault(names_of(event, "lane", prices.context_tier), []).append((number, event))
        for names, numbered in groups.items():
            fold(Rollup(names), numbered)
    return (time.process_time() - began) / (FOLDS * len(events)) * 1e6


async def _longest_hold(done: asyncio.Event) -> float:
    """Return the most seconds that were computed during a short pause, until it is done."""
    longest = 0.0
    while not done.is_set():
        began = time.thread_time()
        await asyncio.sleep(PAUSE_SECONDS)
        longest = max(longest, time.thread_time() - began)
    return longest


async def _timed(
    collecting: Callable[[list[ReceivedEvent]], Awaitable[None]], batch: list[ReceivedEvent]
) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    await collecting(batch)
    return time.perf_counter() - wall, time.process_time() - cpu


async def incarnation() -> str:
    return "usage-1770000000000"


class Prefixed:
    """Tables of one run in a store that all runs share."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._prefix = f"b{os.urandom(4).hex()}"

    async def table(self, name: str) -> Table:
        return await self._tables.table(self._prefix + name)

    async def close(self) -> None:
        await self._tables.close()
