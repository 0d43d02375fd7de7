"""The fire: producers, a hub and rival collectors on Azurite, killed by SIGKILL at random until it is over.

Producers publish for as long as kills go on, so that none falls into silence. Then what is left is collected, every
event is delivered once more from the first on, and the books are read.
"""

import asyncio
import multiprocessing
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from chargeback.closing.proofs import Proof
from hosting.eventhubs.events import EventHubStream
from hosting.tables import AzureTables
from local.child import Child
from local.eventhubs.server import connection_string
from local.events.checkpoints import Checkpoints
from seams.clock import SystemClock
from seams.tables import Tables
from tests.chargeback.staging import Renamed
from tests.proofs.fire.books import Books, close_days, read_books
from tests.proofs.fire.collector import HUB, Rival, run
from tests.proofs.fire.plan import Plan, Totals
from tests.proofs.fire.producers import Producers

PARTITIONS = 4
RIVALS = 3
SERVERS_SHARE = 0.2
FAULTS = '{"drop_acks": 0.04, "busy": 0.02}'
STALLED_SECONDS = 120.0
PRELOADED = [
    "chargeback.ledger.ledger",
    "genai_prices.data",
    "hosting.eventhubs.events",
    "hosting.tables",
    "local.events.hub_source",
]

type OnKill = Callable[[int, str], None]
"""Called after each kill with its number, from 1, and the victim."""


@dataclass(frozen=True)
class Conditions:
    """`azurite` is a connection string, `prefix` names the tables of this run, `pace` is seconds between batches."""

    azurite: str
    prefix: str
    folder: Path
    kills: int
    seed: int
    pace: float = 0.02
    forgetful: bool = False


@dataclass(frozen=True)
class Outcome:
    """What was asked of the ledger and what it did. `stored` counts the records in the hub, duplicates included."""

    expected: Totals
    events: int
    stored: int
    duplicates: int
    republished: int
    kills: Counter[str]
    seconds: float
    books: Books
    proofs: list[Proof]

    def report(self) -> str:
        kills = ", ".join(f"{count} of {victim}" for victim, count in sorted(self.kills.items()))
        return (
            f"{self.kills.total()} SIGKILLs in {self.seconds:.0f} s ({kills}); {self.events:,} distinct events, "
            f"{self.stored:,} records in the hub with {self.duplicates:,} duplicates by producers and "
            f"{self.republished} publishes that began anew; {tokens(self.expected):,} tokens expected, "
            f"{tokens(self.books.totals):,} in the rollups; {len(self.proofs) - len(self._unproved())} of "
            f"{len(self.proofs)} days proved: {sum(proof.totals.emitted for proof in self.proofs):,} numbers of the hub"
        )

    def faults(self) -> list[str]:
        """Return what is not as it was promised, in words.

        Each event counts once per subscription and meter; the journal misses nothing that the hub holds, every call
        that announced itself has ended, and each day is closed as proved.
        """
        totals, expected = self.books.totals, self.expected
        found = [
            f"{subscription}: {meter} {totals[subscription, meter]}, not {expected[subscription, meter]}"
            for subscription, meter in sorted(expected.keys() | totals.keys())
            if totals[subscription, meter] != expected[subscription, meter]
        ]
        promised = {
            "detail rows": (self.books.details, self.events),
            "records in the journal": (self.books.records, self.stored),
            "gaps in the journal": (self.books.missing, 0),
            "rows of open calls": (self.books.open_calls, 0),
        }
        found += [f"{name}: {was}, not {due}" for name, (was, due) in promised.items() if was != due]
        return found + [f"{proof.day} is {proof.status}: {proof.findings}" for proof in self._unproved()]

    def _unproved(self) -> list[Proof]:
        return [proof for proof in self.proofs if proof.status != "proved"]


def tokens(totals: Totals) -> int:
    return sum(count for (_, meter), count in totals.items() if meter != "events")


class Fire:
    """One run."""

    def __init__(self, conditions: Conditions, on_kill: OnKill) -> None:
        self._conditions = conditions
        self._on_kill = on_kill
        self._dice = random.Random(conditions.seed)
        self._plan = Plan(random.Random(conditions.seed + 1), datetime.now(UTC))
        self._kills: Counter[str] = Counter()
        self._fork = multiprocessing.get_context("forkserver")
        self._fork.set_forkserver_preload(PRELOADED)
        self._rivals: list[ForkServerProcess] = []
        self._hub: Child | None = None
        self._port = 0

    async def burn(self) -> Outcome:
        tables = AzureTables.by_connection_string(self._conditions.azurite)
        stream: EventHubStream | None = None
        try:
            await self._start_hub()
            stream = self._stream()
            return await self._run(stream, Renamed(tables, self._conditions.prefix))
        finally:
            await self._put_out()
            if stream is not None:
                await stream.close()
            await tables.close()

    async def _run(self, stream: EventHubStream, ledger: Tables) -> Outcome:
        began = time.monotonic()
        self._rivals = [self._start_rival(number) for number in range(RIVALS)]
        producers = Producers(self._plan, stream, self._conditions.pace)
        await self._kill_at_random()
        await producers.stop()
        ends = await stream.ends()
        await self._collected([f"rival-{number}" for number in range(RIVALS)], ends)
        await self._redeliver(ends)
        return Outcome(
            self._plan.expected,
            self._plan.events,
            sum(last + 1 for last in ends.values()),
            self._plan.duplicates,
            producers.republished,
            self._kills,
            time.monotonic() - began,
            await read_books(ledger),
            await close_days(ledger, stream),
        )

    async def _kill_at_random(self) -> None:
        for number in range(1, self._conditions.kills + 1):
            await asyncio.sleep(self._dice.uniform(0.2, 1.6))
            if self._dice.random() < SERVERS_SHARE:
                victim = "the hub"
                await self._kill_hub()
            else:
                victim = "a collector"
                await self._kill_rival(self._dice.randrange(RIVALS))
            self._kills[victim] += 1
            self._on_kill(number, victim)

    async def _kill_hub(self) -> None:
        assert self._hub is not None
        self._hub.process.kill()
        await self._hub.process.wait()
        await self._start_hub()

    async def _kill_rival(self, number: int) -> None:
        self._rivals[number].kill()
        await asyncio.to_thread(self._rivals[number].join)
        self._rivals[number].close()
        self._rivals[number] = self._start_rival(number)

    async def _start_hub(self) -> None:
        folder = self._conditions.folder / "hub"
        options = ("--folder", str(folder), "--port", str(self._port), "--hub", f"{HUB}:{PARTITIONS}")
        self._hub = await Child.start("local.eventhubs", *options, "--seed", str(self._dice.randrange(2**31)))
        self._port = int(self._hub.ready["port"])
        await _set_faults(self._port)

    def _start_rival(self, number: int) -> ForkServerProcess:
        return self._start(
            Rival(
                f"rival-{number}",
                connection_string(self._port),
                self._conditions.azurite,
                self._conditions.prefix,
                self._conditions.folder / "checkpoints",
                self._dice.randrange(2**31),
                self._conditions.forgetful,
            )
        )

    def _start(self, rival: Rival) -> ForkServerProcess:
        process = self._fork.Process(target=run, args=(rival,), daemon=True)
        process.start()
        return process

    async def _redeliver(self, ends: Mapping[str, int]) -> None:
        """Let one more collector take every event from the first on."""
        await self._kill_rivals()
        last = Rival(
            "again",
            connection_string(self._port),
            self._conditions.azurite,
            self._conditions.prefix,
            self._conditions.folder / "checkpoints",
            seed=0,
            forgetful=self._conditions.forgetful,
        )
        self._rivals = [self._start(last)]
        await self._collected([last.name], ends)

    async def _collected(self, groups: list[str], ends: Mapping[str, int]) -> None:
        """Wait until every group is done with every event, however long that takes while it goes on.

        Raises TimeoutError, which names who is behind, after STALLED_SECONDS in which nothing came nearer to its end.
        """
        checkpoints = Checkpoints(self._conditions.folder / "checkpoints")
        nearest, since = sys.maxsize, time.monotonic()
        while lags := _lags(checkpoints, groups, ends):
            if (left := sum(lags.values())) < nearest:
                nearest, since = left, time.monotonic()
            if time.monotonic() - since > STALLED_SECONDS:
                raise TimeoutError(f"nothing was collected for {STALLED_SECONDS:.0f} s; records behind: {lags}")
            await asyncio.sleep(0.1)

    def _stream(self) -> EventHubStream:
        return EventHubStream.by_connection_string(
            connection_string(self._port), HUB, timeout_seconds=10, clock=SystemClock()
        )

    async def _kill_rivals(self) -> None:
        for process in self._rivals:
            process.kill()
            await asyncio.to_thread(process.join)
            process.close()
        self._rivals = []

    async def _put_out(self) -> None:
        await self._kill_rivals()
        if self._hub is not None:
            await self._hub.end()


async def burn(conditions: Conditions, on_kill: OnKill = lambda _, __: None) -> Outcome:
    """Run one fire to its end."""
    return await Fire(conditions, on_kill).burn()


def _lags(checkpoints: Checkpoints, groups: list[str], ends: Mapping[str, int]) -> dict[str, int]:
    """Return how many records each group is behind in each partition where it is behind."""
    behind = {
        f"{group}/{partition}": last - checkpoints.read(group, partition)
        for group in groups
        for partition, last in ends.items()
    }
    return {name: lag for name, lag in behind.items() if lag > 0}


async def _set_faults(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"PUT /faults HTTP/1.1\r\nContent-Length: {len(FAULTS)}\r\n\r\n{FAULTS}".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 200"), answer
