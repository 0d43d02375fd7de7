"""The promise of the bill under fire: instances and the hub are killed while callers listen, and nothing is lost.

The product runs over the stand-in for Event Hubs and is killed by SIGKILL in mid-stream, again and again. What its
callers had whole is on their statements as it was invoiced; what was cut is there once, marked as estimated.
"""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest

from chargeback.lanes.lanes import LANES
from chargeback.ledger.details import USAGE
from chargeback.orphans.orphans import ORPHANS
from gateway.metering.tokens import VOCABULARIES
from local.simulator.faults import Stall
from local.simulator.invoice import Line
from local.simulator.server import serve_all
from local.simulator.settings import BackendSettings
from local.simulator.tokens import Tokenizers
from local.tables import SQLiteTables
from seams.tables import Entity
from tests.chargeback.staging import rows
from tests.gateway.catalogs import MODELS, UPSTREAM_KEY, catalog_of
from tests.proofs.tollgate import KEYS, METERS, Tollgate, charged, running_tollgate, statements

KILLS = 5
CALLERS = 6
SEED = 20261121
SETTLED_SECONDS = 90.0
MOMENT_SECONDS = 1.0
"""How long an intent or an event may be on its way to a hub that answers, on a busy machine.

A call that began in the moment before the kill may have left no trace; one that ended in it may be an estimate.
"""

SETTINGS = {
    "EVENTS": "eventhub",
    "ORPHAN_AFTER_SECONDS": "4",
    "IDLE_TIMEOUT_SECONDS": "60",
    "PUBLISH_TIMEOUT_SECONDS": "4",
}
FAULTS = '{"drop_acks": 0.05, "busy": 0.02, "deaths": 0.01}'


@dataclass
class Call:
    """What a caller knows. `id` is the usage event's, `billed_as` the backend's name for its answer."""

    id: str
    billed_as: str
    team: str
    began: float
    ended: float = 0.0
    whole: bool = False


@dataclass
class Callers:
    """Callers that go on through every kill; `stop` lets each end its call."""

    dice: random.Random
    url: str = ""
    calls: list[Call] = field(default_factory=list)
    open: list[Call] = field(default_factory=list)
    burning: bool = True

    async def run(self) -> None:
        async with httpx2.AsyncClient(timeout=60) as client:
            while self.burning:
                try:
                    await self.call(client, self.url, self.dice.choice(tuple(KEYS)), streamed=self.dice.random() < 0.7)
                except httpx2.HTTPError:
                    await asyncio.sleep(0.05)

    async def call(self, client: httpx2.AsyncClient, url: str, team: str, *, streamed: bool) -> None:
        """Make one call and note what came of it. Raises httpx2.HTTPError where it was cut or the instance is down."""
        text = f"Tell me about router {self.dice.randrange(10**6)}, please."
        body = {"model": "gpt-4o", "stream": streamed, "messages": [{"role": "user", "content": text}]}
        headers = {"api-key": KEYS[team]}
        began = time.monotonic()
        async with client.stream("POST", f"{url}/openai/v1/chat/completions", json=body, headers=headers) as answer:
            answer.raise_for_status()
            call = Call(answer.headers["x-request-id"], answer.headers["apim-request-id"], team, began)
            self.calls.append(call)
            self.open.append(call)
            try:
                received = b"".join([chunk async for chunk in answer.aiter_raw()])
            finally:
                self.open.remove(call)
                call.ended = time.monotonic()
            call.whole = b"data: [DONE]" in received if streamed else bool(json.loads(received))


async def until(reached: Callable[[], Awaitable[bool]], seconds: float = SETTLED_SECONDS) -> None:
    async with asyncio.timeout(seconds):
        while not await reached():
            await asyncio.sleep(0.1)


@asynccontextmanager
async def failing_hub(tollgate: Tollgate) -> AsyncIterator[None]:
    """Find the hub in what the product printed, and let it fail now and then while the block runs."""
    assert tollgate.process.stdout is not None
    async with asyncio.timeout(30):
        while not (line := (await tollgate.process.stdout.readline()).decode().strip()).endswith("/counts"):
            assert line or not tollgate.process.stdout.at_eof()
    control = line.split()[-1].replace("/counts", "/faults")
    transport = httpx2.AsyncHTTPTransport(retries=20)
    async with httpx2.AsyncClient(timeout=30, transport=transport) as client:
        (await client.put(control, content=FAULTS)).raise_for_status()
        yield
        (await client.delete(control)).raise_for_status()


async def in_mid_stream(tollgate: Tollgate, state: Path, callers: Callers) -> float:
    """Kill the instance while at least two callers hear an answer that began when the hub answered; return when."""
    async with failing_hub(tollgate):
        callers.url = tollgate.url
        heard = len(callers.calls)
        await until(lambda: waits(lambda: len(callers.calls) >= heard + 3 * CALLERS))
    since = await hub_is_back(state, callers)
    await asyncio.sleep(callers.dice.uniform(0, 0.5))
    await until(lambda: waits(lambda: len(callers.open) >= 2 and min(call.began for call in callers.open) > since))
    killed = time.monotonic()
    await tollgate.kill()
    return killed


async def waits(reached: Callable[[], bool]) -> bool:
    return reached()


async def hub_is_back(state: Path, callers: Callers) -> float:
    """Wait until events of both teams take the first way again, not that of the outbox; return when."""
    since = time.monotonic()

    async def first_way() -> bool:
        details = (await books(state)).details
        direct = {
            call.team
            for call in callers.calls
            if call.began > since and call.id in details and not details[call.id].values.get("replayed")
        }
        return direct == KEYS.keys()

    await until(first_way)
    return time.monotonic()


@dataclass(frozen=True)
class Books:
    details: dict[str, Entity]
    orphans: dict[str, Entity]
    open_calls: int

    def __contains__(self, call: Call) -> bool:
        return call.id in self.details or call.id in self.orphans

    def totals(self) -> Counter[str]:
        total: Counter[str] = Counter(requests=len(self.details) + len(self.orphans))
        for entity in (*self.details.values(), *self.orphans.values()):
            total.update({name: int(str(entity.values.get(name, 0))) for name in METERS})
        return total


async def books(state: Path) -> Books:
    tables = SQLiteTables(state / "tables.sqlite")
    try:
        details = {entity.row: entity for entity in await rows(tables, USAGE)}
        standing = [entity for entity in await rows(tables, ORPHANS) if entity.row.startswith("orphan|")]
        orphans = {str(entity.values["id"]): entity for entity in standing}
        open_calls = sum(entity.row.startswith("open|") for entity in await rows(tables, LANES))
    finally:
        await tables.close()
    return Books(details, orphans, open_calls)


def line_of(entity: Entity) -> Counter[str]:
    return Counter({name: int(str(entity.values.get(name, 0))) for name in METERS})


def invoiced(line: Line) -> Counter[str]:
    return Counter({name: getattr(line, name) for name in METERS})


@pytest.mark.timeout(400)
async def test_invoices_equal_statements_but_for_what_was_cut(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whole answers are charged as they were invoiced, cut ones once and as estimates, whatever was killed."""
    settings = [BackendSettings(name="first", api_key=UPSTREAM_KEY, deployments=MODELS)]
    callers, kills = Callers(random.Random(SEED)), []
    async with serve_all(settings, tokenizers=await asyncio.to_thread(Tokenizers, VOCABULARIES)) as simulators:
        await simulators["first"].inject(Stall(after_chunks=5, seconds=0.4))
        catalog = catalog_of(simulators)
        del catalog["subscriptions"]["team-b"]["deployments"]
        tasks: list[asyncio.Task[None]] = []
        for _ in range(KILLS):
            async with running_tollgate(catalog, tmp_path, **SETTINGS) as tollgate:
                tasks = tasks or [asyncio.create_task(callers.run()) for _ in range(CALLERS)]
                kills.append(await in_mid_stream(tollgate, tmp_path, callers))
        async with running_tollgate(catalog, tmp_path, **SETTINGS) as tollgate:
            callers.url, callers.burning = tollgate.url, False
            await asyncio.gather(*tasks)
            kept = await settled(tmp_path, callers, kills)
            found = await statements(tollgate.url, len(kept.details) + len(kept.orphans))
        lines = {line.request_id: line for line in simulators["first"].invoice.lines}
    unseen = [call for call in callers.calls if call not in kept]
    with capsys.disabled():
        print(f"\ninvoice under fire: {report(callers, kept, lines)}")  # noqa: T201 - a proof's figures
    check(callers, kept, lines, kills)
    assert all(within_a_moment(call.began, kills) for call in unseen)
    assert sum(charged(found).values(), Counter()) == Counter({name: kept.totals()[name] for name in METERS})
    assert sum(statement["requests"] for statement in found) == kept.totals()["requests"]
    estimated = sum(line["estimated_requests"] for statement in found for line in statement["lines"])
    assert estimated == len(kept.orphans) + sum(bool(each.values.get("estimated")) for each in kept.details.values())
    assert 0 < estimated < len(callers.calls) // 2


async def settled(state: Path, callers: Callers, kills: list[float]) -> Books:
    """Return the books once every call that can be in them is, and none is open any more."""

    async def complete() -> bool:
        kept = await books(state)
        due = [call for call in callers.calls if not within_a_moment(call.began, kills)]
        return not kept.open_calls and all(call in kept for call in due)

    await until(complete)
    return await books(state)


def within_a_moment(when: float, kills: list[float]) -> bool:
    """Tell whether the instance was killed so shortly after."""
    return any(0 <= killed - when < MOMENT_SECONDS for killed in kills)


def check(callers: Callers, kept: Books, lines: dict[str, Line], kills: list[float]) -> None:
    """Hold each call against its line of the invoice."""
    assert len({call.id for call in callers.calls}) == len(callers.calls)
    assert not kept.details.keys() & kept.orphans.keys()
    for call in callers.calls:
        if call.id in kept.details and not kept.details[call.id].values.get("estimated"):
            assert line_of(kept.details[call.id]) == invoiced(lines[call.billed_as])
        elif call.whole and call in kept:
            assert within_a_moment(call.ended, kills)


def report(callers: Callers, kept: Books, lines: dict[str, Line]) -> str:
    exact = [call for call in callers.calls if call.id in kept.details]
    orphaned = [call for call in callers.calls if call.id in kept.orphans]
    unseen = len(callers.calls) - len(exact) - len(orphaned)
    as_invoiced = sum((line_of(kept.details[call.id]) for call in exact), Counter())
    estimated = sum((line_of(kept.orphans[call.id]) for call in orphaned), Counter())
    billed = sum((invoiced(lines[call.billed_as]) for call in orphaned if call.billed_as in lines), Counter())
    return (
        f"{KILLS} SIGKILLs of the instance in mid-stream; of {len(callers.calls)} calls that began to answer "
        f"{len(exact)} are charged as invoiced, {tokens(as_invoiced):,} tokens; {len(orphaned)} were under way and are "
        f"estimated at {tokens(estimated):,} tokens where {tokens(billed):,} were invoiced; {unseen} began in the "
        "moment of a kill and left no trace"
    )


def tokens(counts: Counter[str]) -> int:
    return counts["prompt_tokens"] + counts["completion_tokens"]
