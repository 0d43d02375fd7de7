"""Each event once, whatever befalls the collector."""

import asyncio
import multiprocessing
import os
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import batched
from pathlib import Path

import pytest
from msgspec import structs

from chargeback import ledger as ledgers
from chargeback import rollups as folding
from chargeback.deadletters import MAX_LABELS_BYTES
from chargeback.ledger import DEADLETTERS, ROLLUPS, USAGE, Ledger
from chargeback.prices import Prices
from chargeback.rollups import Numbered, Rollup, fold, from_entity
from gateway.usage import Meters, UsageEvent
from local.tables import SQLiteTables
from seams.events import ReceivedEvent, StreamUnavailable
from seams.tables import Entity, Operation, Table, TableConflict, Tables, TableUnavailable

type MakeEvent = Callable[..., UsageEvent]
type Deliver = Callable[..., ReceivedEvent]


async def incarnation() -> str:
    return "2026-11-01T00:00:00Z"


async def rows(tables: Tables, name: str) -> list[Entity]:
    return [entity async for entity in (await tables.table(name)).query()]


async def sums(tables: Tables, name: str = ROLLUPS) -> Counter[str]:
    total: Counter[str] = Counter()
    for entity in await rows(tables, name):
        rollup = from_entity(entity)
        total += Counter(events=rollup.events, prompt=rollup.meters[0], completion=rollup.usage().completion_tokens)
    return total


async def test_events_become_rollups_and_detail_rows(
    tables: Tables, prices: Prices, make_event: MakeEvent, deliver: Deliver
) -> None:
    """A batch is summed by day, names and lane, and each event has its row."""
    ledger = Ledger(tables, prices, incarnation)
    first = make_event(id="a", labels={"ticket": "INC1\N{SNOWMAN}"}, avoided=Meters(prompt_tokens=7))
    events = [first, make_event(id="b"), make_event(id="c", model="gpt-4o-mini"), make_event(id="d", estimated=True)]

    await ledger.collect([deliver(event, n) for n, event in enumerate(events)])

    rollup = max((from_entity(entity) for entity in await rows(tables, ROLLUPS)), key=lambda one: one.events)
    assert (rollup.events, rollup.requests, rollup.estimated_requests) == (3, 3, 1)
    assert rollup.usage() == Meters(prompt_tokens=300, cached_tokens=60, completion_tokens=30, reasoning_tokens=15)
    assert rollup.names.lane == "2026-11-01T00:00:00Z.0"
    assert rollup.last_seq == 3
    details = await rows(tables, USAGE)
    assert [entity.row for entity in details] == ["a", "b", "c", "d"]
    assert details[0].partition == "service-desk|20261120"
    assert {**details[0].values, "labels": ""} == {
        "lane": "2026-11-01T00:00:00Z.0",
        "sequence_number": 0,
        "id": "a",
        "time": first.time,
        "subscription": "service-desk",
        "operation": "chat/completions",
        "deployment": "gpt-4o",
        "model": "gpt-4o-2024-08-06",
        "backend": "eastus",
        "deployment_type": "global",
        "status": 200,
        "outcome": "completed",
        "version": 1,
        "attempts": 1,
        "prompt_tokens": 100,
        "cached_tokens": 20,
        "completion_tokens": 10,
        "reasoning_tokens": 5,
        "avoided_prompt_tokens": 7,
        "labels": "",
    }
    assert details[0].values["labels"] == '{"ticket": "INC1\\u2603"}'


async def test_detail_rows_can_be_switched_off(
    tables: Tables, prices: Prices, make_event: MakeEvent, deliver: Deliver
) -> None:
    """Without detail rows the sums are the same."""
    await Ledger(tables, prices, incarnation, detail_rows=False).collect([deliver(make_event(replayed=True), 0)])

    assert await sums(tables) == Counter(events=1, prompt=100, completion=10)
    assert await rows(tables, USAGE) == []


async def test_redelivery_and_producers_duplicates_change_nothing(
    tables: Tables, prices: Prices, make_event: MakeEvent, deliver: Deliver
) -> None:
    """The same batch again, to the same collector and to a fresh one, and an id under a new number add nothing."""
    batch = [deliver(make_event(id=str(n)), n) for n in range(5)]
    batch.append(deliver(make_event(id="2"), 5))
    ledger = Ledger(tables, prices, incarnation)

    await ledger.collect(batch)
    await ledger.collect(batch)
    await Ledger(tables, prices, incarnation).collect(batch[3:])

    assert await sums(tables) == Counter(events=5, prompt=500, completion=50)
    assert len(await rows(tables, USAGE)) == 5


async def test_partitions_and_incarnations_are_lanes(
    tables: Tables, prices: Prices, make_event: MakeEvent, deliver: Deliver
) -> None:
    """The same sequence number in another partition, or in the hub made again, is another event."""

    async def later() -> str:
        return "2026-11-02T00:00:00Z"

    await Ledger(tables, prices, incarnation).collect([deliver(make_event(), 0, partition) for partition in ("0", "1")])
    await Ledger(tables, prices, later).collect([deliver(make_event(), 0)])

    assert (await sums(tables))["events"] == 3


async def test_unordered_batch_loses_nothing(
    tables: Tables, prices: Prices, make_event: MakeEvent, deliver: Deliver
) -> None:
    """Events are counted though a host hands them over out of order inside a batch."""
    await Ledger(tables, prices, incarnation).collect([deliver(make_event(), n) for n in (3, 1, 2, 0)])

    assert (await sums(tables))["events"] == 4


async def test_context_tier_is_settled_per_request(
    tables: Tables, prices: Prices, make_event: MakeEvent, deliver: Deliver
) -> None:
    """A long prompt and two short ones that add up to more are summed apart."""
    lengths = [300_000, 200_000, 200_000]
    batch = [
        deliver(make_event(model="gpt-5.4", meters=Meters(prompt_tokens=length)), n) for n, length in enumerate(lengths)
    ]

    await Ledger(tables, prices, incarnation).collect(batch)

    rollups = [from_entity(entity) for entity in await rows(tables, ROLLUPS)]
    assert {one.names.context_tier: one.meters[0] for one in rollups} == {"": 400_000, "over-272000": 300_000}


VALID = b'{"id":"x","time":"2026-11-20T12:00:00Z","subscription":"s","operation":"o","deployment":"d","model":"m",'
REST = b'"backend":"b","deployment_type":"global","status":200,"outcome":"completed"'
POISON = {
    "empty": b"",
    "not JSON": b"\xff\x00",
    "not an object": b"[]",
    "field missing": b'{"id":"x"}',
    "negative count": VALID + REST + b',"meters":{"prompt_tokens":-1}}',
    "absurd count": VALID + REST + b',"meters":{"prompt_tokens":1000000000001}}',
    "unknown meter": VALID + REST + b',"meters":{"tokens":1}}',
    "unknown version": VALID + REST + b',"version":2}',
    "no zone": VALID.replace(b"Z", b"") + REST + b"}",
    "end of the calendar": VALID.replace(b"2026-11-20T12:00:00Z", b"9999-12-31T23:59:59-12:00") + REST + b"}",
    "before the calendar": VALID.replace(b"2026-11-20T12:00:00Z", b"0001-01-01T00:00:00+12:00") + REST + b"}",
    "before Table storage": VALID.replace(b"2026", b"1500") + REST + b"}",
    "from the future": VALID.replace(b"20T", b"22T") + REST + b"}",
    "control character": VALID.replace(b'"s"', b'"s\\u0000"') + REST + b"}",
    "half a surrogate": VALID.replace(b'"m"', b'"\\ud800"') + REST + b"}",
    "control character in a wrong word": VALID + REST.replace(b"global", b"glo\\u0001bal") + b"}",
    "nested too deeply": VALID + REST + b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "labels too large": VALID + REST + b',"labels":{"user":"' + b"x" * MAX_LABELS_BYTES + b'"}}',
    "over a megabyte": b"x" * 1_100_000,
}


async def test_poison_keeps_the_rest_of_its_batch(
    rival_tables: Callable[[], Tables], prices: Prices, make_event: MakeEvent, deliver: Deliver
) -> None:
    """Each unusable event is one dead letter, however often it comes; the events around it are counted."""
    tables, prefix = rival_tables(), f"x{os.urandom(4).hex()}"
    renamed = Renamed(tables, prefix)
    bodies: list[UsageEvent | bytes] = [make_event(subscription="poisoned")]
    for body in POISON.values():
        bodies += [body, make_event(subscription="poisoned")]
    batch = [deliver(body, n) for n, body in enumerate(bodies)]

    await Ledger(renamed, prices, incarnation).collect(batch)
    await Ledger(renamed, prices, incarnation).collect(batch)

    letters = {int(str(one.values["sequence_number"])): one for one in await rows(renamed, DEADLETTERS)}
    assert sorted(letters) == list(range(1, len(bodies), 2))
    for sequence_number, body in zip(sorted(letters), POISON.values(), strict=True):
        check_letter(letters[sequence_number], body)
    assert (await sums(renamed))["events"] == len(POISON) + 1


def check_letter(letter: Entity, body: bytes) -> None:
    kept = b"".join(bytes(letter.values[f"body_{n}"]) for n in range(20) if f"body_{n}" in letter.values)  # type: ignore[arg-type]  # binary columns
    assert letter.partition == "0|20261120"
    assert letter.values["size"] == len(body)
    assert letter.values["truncated"] == (len(body) > 640 * 1024)
    assert kept == body[: 640 * 1024]
    assert str(letter.values["reason"]).isprintable()


class Renamed:
    """The tables of one test inside a store that others share."""

    def __init__(self, tables: Tables, prefix: str) -> None:
        self._tables = tables
        self._prefix = prefix

    async def table(self, name: str) -> Table:
        return await self._tables.table(self._prefix + name)

    async def close(self) -> None: ...


async def test_odd_names_are_kept(
    rival_tables: Callable[[], Tables], prices: Prices, make_event: MakeEvent, deliver: Deliver
) -> None:
    """Names that are no table keys as they are get rows of their own, with the true names in columns."""
    tables = Renamed(rival_tables(), f"o{os.urandom(4).hex()}")
    odd = ["a/b", "a\\b", "a#b?", "it's", "größe", "\N{EARTH GLOBE AMERICAS}" * 25, "%2F", "=2F", " ", "|", "x" * 100]
    events = [make_event(id=name, subscription=name, deployment=name, model=name) for name in odd]

    await Ledger(tables, prices, incarnation).collect([deliver(event, n) for n, event in enumerate(events)])

    assert sorted(from_entity(one).names.deployment for one in await rows(tables, ROLLUPS)) == sorted(odd)
    assert sorted(str(one.values["id"]) for one in await rows(tables, USAGE)) == sorted(odd)


async def test_replayed_event_is_counted_once(
    tables: Tables, prices: Prices, make_event: MakeEvent, deliver: Deliver
) -> None:
    """An event from the outbox whose first publication had worked is found by its row, far outside the ring."""
    event = make_event(id="replayed")
    lost, new = make_event(id="lost", replayed=True), make_event(id="new")
    again = structs.replace(event, replayed=True)
    ledger = Ledger(tables, prices, incarnation)
    await ledger.collect([deliver(event, 0)])
    for start in range(1, 1001, 500):
        await ledger.collect([deliver(make_event(), n) for n in range(start, start + 500)])

    for _ in range(2):
        await ledger.collect([deliver(again, 2000), deliver(lost, 2001), deliver(lost, 2002), deliver(new, 2003)])
        await ledger.collect([deliver(again, 0, "1")])

    assert (await sums(tables))["events"] == 1003


async def test_replayed_event_survives_a_kill_between_rollup_and_detail(
    tables: Tables, prices: Prices, make_event: MakeEvent, deliver: Deliver
) -> None:
    """Rollups come before detail rows, so a detail row never hides an event that was not counted."""
    batch = [deliver(make_event(id="a", replayed=True), 0)]
    killed = Ledger(FailingAt(tables, USAGE), prices, incarnation)

    with pytest.raises(TableUnavailable):
        await killed.collect(batch)
    assert (await sums(tables))["events"] == 1
    await Ledger(tables, prices, incarnation).collect(batch)

    assert (await sums(tables))["events"] == 1
    assert len(await rows(tables, USAGE)) == 1


class FailingAt:
    """Tables of which one cannot be written."""

    def __init__(self, tables: Tables, name: str) -> None:
        self._tables = tables
        self._name = name

    async def table(self, name: str) -> Table:
        table = await self._tables.table(name)
        return ReadOnly(table) if name == self._name else table

    async def close(self) -> None: ...


class ReadOnly:
    def __init__(self, table: Table) -> None:
        self.get = table.get
        self.query = table.query

    async def transact(self, operations: Sequence[Operation]) -> list[str | None]:
        raise TableUnavailable("read only")


async def test_stream_that_cannot_be_asked_fails_the_batch(
    tables: Tables, prices: Prices, make_event: MakeEvent, deliver: Deliver
) -> None:
    """Without the stream's incarnation no lane is known: nothing is written, and the batch comes again."""

    async def unknown() -> str:
        raise StreamUnavailable("silent")

    with pytest.raises(StreamUnavailable):
        await Ledger(tables, prices, unknown).collect([deliver(make_event(), 0)])
    assert await rows(tables, ROLLUPS) == []


async def test_conflicts_without_end_are_given_up(
    tables: Tables, prices: Prices, make_event: MakeEvent, deliver: Deliver
) -> None:
    """A row that rivals never let go of is a TableConflict in the end, not a collector that hangs."""

    class Contended(FailingAt):
        async def table(self, name: str) -> Table:
            return Taken(await self._tables.table(name))

    class Taken(ReadOnly):
        async def transact(self, operations: Sequence[Operation]) -> list[str | None]:
            raise TableConflict("taken", 0)

    ledger = Ledger(Contended(tables, ""), prices, incarnation, uniform=lambda: 0.0)
    with pytest.raises(TableConflict, match="100 tries"):
        await ledger.collect([deliver(make_event(), 0)])


async def test_many_rows_are_written_and_the_cache_stays_bounded(
    tables: Tables, prices: Prices, make_event: MakeEvent, deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More rollups than a transaction or the cache holds are all written, and again from what was read."""
    monkeypatch.setattr(ledgers, "_MAX_CACHED", 50)
    ledger = Ledger(tables, prices, incarnation)
    for sequence in (0, 1000):
        batch = [deliver(make_event(deployment=f"d{n}"), sequence + n) for n in range(250)]
        await ledger.collect(batch)

    rollups = [from_entity(entity) for entity in await rows(tables, ROLLUPS)]
    assert [one.events for one in rollups] == [2] * 250
    assert len(ledger._cache) <= 50


class Hub:
    """Partitions' logs with producers' duplicates, and how far each was checkpointed."""

    def __init__(self, make_event: MakeEvent, deliver: Deliver, dice: random.Random) -> None:
        self.logs: list[list[ReceivedEvent]] = []
        self.distinct: dict[str, UsageEvent] = {}
        for partition in "012":
            log: list[UsageEvent] = []
            for _ in range(80):
                event = make_event(
                    id=dice.randbytes(8).hex(),
                    subscription=f"s{partition}{dice.randrange(3)}",
                    model=dice.choice(["gpt-4o", "gpt-4o-mini"]),
                    time=datetime(2026, 11, 20, 12, tzinfo=UTC) - timedelta(days=dice.randrange(2)),
                    meters=Meters(prompt_tokens=dice.randrange(5000), completion_tokens=dice.randrange(500)),
                )
                self.distinct[event.id] = event
                log.append(event)
                if dice.random() < 0.05:
                    log.append(dice.choice(log[-30:]))
            self.logs.append([deliver(event, n, partition) for n, event in enumerate(log)])

    def expected(self) -> Counter[str]:
        meters = [event.meters for event in self.distinct.values()]
        return Counter(
            events=len(meters),
            prompt=sum(one.prompt_tokens for one in meters),
            completion=sum(one.completion_tokens for one in meters),
        )


type HubOf = Callable[[random.Random], Hub]


@pytest.fixture
def hub_of(make_event: MakeEvent, deliver: Deliver) -> HubOf:
    return lambda dice: Hub(make_event, deliver, dice)


async def drain(ledger: Ledger, hub: Hub, dice: random.Random) -> None:
    """Collect every partition as a trigger does: a failed batch comes again, and each batch reaches back a little."""

    async def partition(log: list[ReceivedEvent]) -> None:
        done = 0
        while done < len(log):
            end = done + dice.randrange(10, 60)
            batch = log[max(0, done - dice.randrange(40)) : end]
            while True:
                try:
                    await ledger.collect(batch)
                except (TableConflict, TableUnavailable):
                    continue
                break
            done = end

    await asyncio.gather(*[partition(log) for log in hub.logs])


@pytest.mark.parametrize("seed", [1, 2])
async def test_rivals_faults_and_redelivery_leave_exact_sums(
    rival_tables: Callable[[], Tables],
    faulty: Callable[..., Tables],
    prices: Prices,
    hub_of: HubOf,
    seed: int,
) -> None:
    """Two collectors of all partitions, lost acknowledgements, conflicts and outages: each event once."""
    dice = random.Random(seed)
    hub = hub_of(dice)
    prefix = f"r{os.urandom(4).hex()}"
    stores = [faulty(rival_tables(), dice, prefix) for _ in range(2)]
    rivals = [Ledger(store, prices, incarnation, uniform=dice.random) for store in stores]

    await asyncio.gather(*[drain(rival, hub, dice) for rival in rivals])

    plain = Renamed(rival_tables(), prefix)
    assert await sums(plain) == hub.expected()
    assert len(await rows(plain, USAGE)) == len(hub.distinct)


async def test_harness_sees_a_fold_that_does_not_look_for_duplicates(
    tables: Tables,
    faulty: Callable[..., Tables],
    prices: Prices,
    hub_of: HubOf,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The control: the same run is not exact when last_seq and ring are forgotten."""

    def forgetful(rollup: Rollup, numbered: Sequence[Numbered]) -> Rollup:
        return fold(replace(rollup, last_seq=-1, ring=b""), numbered)

    monkeypatch.setattr(folding, "fold", forgetful)
    dice = random.Random(1)
    hub = hub_of(dice)

    await drain(Ledger(faulty(tables, dice, "c"), prices, incarnation, uniform=dice.random), hub, dice)

    assert (await sums(Renamed(tables, "c")))["events"] > hub.expected()["events"]


def collect_until_killed(path: Path, batches: list[list[ReceivedEvent]]) -> None:
    async def collect() -> None:
        tables = SQLiteTables(path)
        ledger = Ledger(tables, Prices(), incarnation)
        for batch in batches:
            await ledger.collect(batch)
        await tables.close()

    asyncio.run(collect())


async def test_sigkill_in_mid_collecting_leaves_exact_sums(tables: Tables, hub_of: HubOf, tmp_path: Path) -> None:
    """A collector killed again and again, and begun each time from the first event, counts each event once."""
    hub = hub_of(random.Random(3))
    batches = [list(batch) for log in hub.logs for batch in batched(log, 3, strict=False)]
    total = hub.expected()["events"]
    # Forked from a process that has the imports: spawning one would take longer than collecting.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["chargeback.ledger", "genai_prices.data", "local.tables"])
    killed_at = []
    for share in (0.1, 0.3, 0.5, 0.7):
        process = context.Process(target=collect_until_killed, args=(tmp_path / "tables.db", batches))
        process.start()
        while process.is_alive() and (await sums(tables))["events"] < share * total:
            await asyncio.sleep(0.002)
        process.kill()
        await asyncio.to_thread(process.join)
        killed_at.append((await sums(tables))["events"])
    assert 0 < killed_at[0] < total

    await asyncio.to_thread(collect_until_killed, tmp_path / "tables.db", batches)

    assert await sums(tables) == hub.expected()
    assert len(await rows(tables, USAGE)) == len(hub.distinct)
