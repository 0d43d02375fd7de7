"""A hub, its collector and its clock in the test's hand, for the close of the day."""

import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from chargeback.closing.closing import Closing
from chargeback.ledger.ledger import Ledger
from chargeback.prices import Prices
from gateway.usage import Intent, Meters, UsageEvent, Withdrawal, encode
from seams.events import ReceivedEvent
from seams.tables import Tables

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = NOON.date()
NEXT_NIGHT = datetime(2026, 11, 21, 1, tzinfo=UTC)


@dataclass
class World:
    """`time` is now. What is appended lies in the hub until it is collected."""

    tables: Tables
    prices: Prices
    time: datetime = NEXT_NIGHT
    name: str = "hub-1"
    log: dict[str, list[ReceivedEvent]] = field(default_factory=lambda: defaultdict(list))
    collected: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    numbers: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    seconds: float = 0.0
    process: Ledger | None = None

    def keep_process(self) -> None:
        """Collect with one ledger from now on, in place of a new one for each batch."""
        self.process = Ledger(self.tables, self.prices, self.incarnation, clock=self)

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.seconds

    async def pause(self, seconds: float) -> None:
        self.seconds += seconds

    async def incarnation(self) -> str:
        return self.name

    async def ends(self) -> Mapping[str, int]:
        return {partition: self.numbers[partition] - 1 for partition in ("0", "1")}

    def append(
        self, record: UsageEvent | Intent | Withdrawal | bytes, partition: str = "0", at: datetime = NOON
    ) -> None:
        body = record if isinstance(record, bytes) else encode(record)
        self.log[partition].append(ReceivedEvent(body, partition, self.numbers[partition], at))
        self.numbers[partition] += 1

    def skip(self, partition: str, count: int) -> None:
        """Let the hub give out numbers whose events nobody gets."""
        self.numbers[partition] += count

    async def collect(self, tables: Tables | None = None, most: int = 1000) -> None:
        """Collect up to so many events of each partition; the place in it moves only if that succeeds."""
        ledger = self.process or Ledger(tables or self.tables, self.prices, self.incarnation, clock=self)
        for partition, events in self.log.items():
            first = self.collected[partition]
            batch = events[first : first + most]
            if batch:
                await ledger.collect(batch)
                self.collected[partition] += len(batch)

    def make_anew(self) -> None:
        """Delete the hub and make one of the same name: numbers start again."""
        self.name += "-again"
        for mapping in (self.log, self.collected, self.numbers):
            mapping.clear()

    def closing(self, tables: Tables | None = None, *, days: int = 90, detail_rows: bool = True) -> Closing:
        return Closing(tables or self.tables, self, self, days=days, detail_rows=detail_rows, pause=self.pause)


def event(subscription: str = "team-a", at: datetime = NOON, **changes: object) -> UsageEvent:
    fields: dict[str, object] = {
        "id": os.urandom(8).hex(),
        "time": at,
        "subscription": subscription,
        "operation": "chat/completions",
        "deployment": "gpt-4o",
        "model": "gpt-4o",
        "backend": "eastus",
        "deployment_type": "global",
        "status": 200,
        "outcome": "completed",
        "meters": Meters(prompt_tokens=10, completion_tokens=1),
    }
    return UsageEvent(**fields | changes)  # type: ignore[arg-type]  # a test's own fields


def intent(of: UsageEvent) -> Intent:
    return Intent(
        id=of.id,
        time=of.time - timedelta(seconds=1),
        subscription=of.subscription,
        operation=of.operation,
        deployment=of.deployment,
        model=of.model,
        backend=of.backend,
        deployment_type=of.deployment_type,
    )


def withdrawal(of: UsageEvent) -> Withdrawal:
    return Withdrawal(id=of.id, time=of.time, subscription=of.subscription)
