"""What the producers publish, and what the books must hold afterwards: drawn from a seed."""

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import msgspec

from gateway.usage import Intent, Meters, UsageEvent, encode

SUBSCRIPTIONS = tuple(f"team-{number:02}" for number in range(12))
MODELS = ("gpt-4o", "gpt-4o-mini", "o3")
DEPLOYMENT_TYPES = ("global", "regional", "ptu")
MAX_BATCH = 12

type Totals = Counter[tuple[str, str]]
"""(subscription, meter or `events`) -> sum; zeros are left out."""


@dataclass(frozen=True)
class Batch:
    """Records of one partition key, in order."""

    key: str
    bodies: list[bytes]


@dataclass
class Plan:
    """Grows batch by batch for as long as the fire burns; `expected` counts each event once."""

    dice: random.Random
    now: datetime
    expected: Totals = field(default_factory=Counter)
    events: int = 0
    records: int = 0
    duplicates: int = 0

    def batch(self) -> Batch:
        """Return new events of one subscription; half of them announced by an intent, some of them twice."""
        subscription = SUBSCRIPTIONS[min(int(self.dice.paretovariate(0.9)), len(SUBSCRIPTIONS)) - 1]
        bodies: list[bytes] = []
        for _ in range(self.dice.randint(1, MAX_BATCH)):
            event = self._event(subscription)
            if self.dice.random() < 0.5:
                bodies.append(encode(_intent(event)))
            bodies.append(encode(event))
            if self.dice.random() < 0.05:
                bodies.append(encode(event))
                self.duplicates += 1
        self.records += len(bodies)
        return Batch(subscription, bodies)

    def repeated(self, batch: Batch) -> bool:
        """Tell whether a producer publishes a batch once more, as one that died before it heard of its success."""
        again = self.dice.random() < 0.08
        if again:
            self.records += len(batch.bodies)
            self.duplicates += sum(not body.startswith(b'{"kind":') for body in batch.bodies)
        return again

    def _event(self, subscription: str) -> UsageEvent:
        dice = self.dice
        meters = Meters(
            prompt_tokens=dice.randrange(1, 4000),
            cached_tokens=dice.randrange(2),
            completion_tokens=dice.randrange(2, 2000),
            reasoning_tokens=dice.randrange(3),
        )
        model = dice.choice(MODELS)
        self.events += 1
        self.expected[subscription, "events"] += 1
        for meter, count in msgspec.structs.asdict(meters).items():
            if count:
                self.expected[subscription, meter] += count
        return UsageEvent(
            id=f"{self.events:07}-{dice.getrandbits(32):08x}",
            time=self.now - timedelta(hours=dice.randrange(30)),
            subscription=subscription,
            operation="chat/completions",
            deployment=model,
            model=model,
            backend="eastus",
            deployment_type=dice.choice(DEPLOYMENT_TYPES),  # type: ignore[arg-type]  # mypy sees str, not the three names
            status=200,
            outcome="completed",
            meters=meters,
        )


def _intent(event: UsageEvent) -> Intent:
    return Intent(
        id=event.id,
        time=datetime.now(UTC),
        subscription=event.subscription,
        operation=event.operation,
        deployment=event.deployment,
        model=event.model,
        backend=event.backend,
        deployment_type=event.deployment_type,
        prompt_tokens=event.meters.prompt_tokens,
    )
