"""Jobs on real tables, with time set by hand, and with work and network that a test decides on."""

import asyncio
import base64
import itertools
import json
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from enrichment.answers.answers import NO_TOKENS, Enrichment, Patch, TaskError, TaskOutcome
from enrichment.jobs.batches import JobBatches
from enrichment.jobs.callback import CallbackCheck
from enrichment.jobs.credentials import Credentials
from enrichment.jobs.deadletters import TABLE as DEAD
from enrichment.jobs.deadletters import JobDeadLetters
from enrichment.jobs.deliveries import Deliveries
from enrichment.jobs.desk import JobDesk
from enrichment.jobs.destinations import Destinations
from enrichment.jobs.events import JobEvents
from enrichment.jobs.job import Job, JobName
from enrichment.jobs.made import Made
from enrichment.jobs.observer import PutAside, Told
from enrichment.jobs.once import Once
from enrichment.jobs.order import JobBody, Order
from enrichment.jobs.outbound import Answer, Request
from enrichment.jobs.oversight import Oversight
from enrichment.jobs.queue import JobQueue
from enrichment.jobs.reminders import Reminders
from enrichment.jobs.runner import JobRules, Runner
from enrichment.jobs.store import JobStore
from enrichment.jobs.sweep import Sweep
from seams.events import ReceivedEvent, StreamUnavailable
from seams.tables import Entity, Tables
from tests.clocks import HandClock

TICKET = {"sys_id": "0123456789abcdef0123456789abcdef", "short_description": "VPN drops"}
RESULT = {"sys_id": TICKET["sys_id"], "summary": {"issue": "VPN drops."}, "patch": {"impact": "2"}}
NOISE = base64.b64encode(random.Random(1).randbytes(700_000)).decode()
"""Text that shrinks by a quarter at best."""
CALLBACK = {"url": "https://desk.example.com/hook"}
HOSTS = "desk.example.com, sn.example.com"
SECRETS = {"SN": "tollgate:secret", "KEY": "k-1", "OAUTH": '{"token_url": "https://sn.example.com/oauth_token.do", '
           '"client_id": "c", "client_secret": "s"}'}  # fmt: skip
GRANTS = "team-a:SN@sn.example.com, team-a:KEY@desk.example.com, *:OAUTH@sn.example.com"

type Do = Callable[[JobName, bytes], Awaitable[Made]]


@dataclass
class Hub:
    """A hub that keeps what it is given, unless it is down."""

    down: bool = False
    bodies: list[bytes] = field(default_factory=list)

    async def publish(self, bodies: Sequence[bytes], key: str) -> None:
        if self.down:
            raise StreamUnavailable("down")
        self.bodies += bodies

    async def incarnation(self) -> str:
        return "hub-1"

    async def ends(self) -> Mapping[str, int]:
        return {}

    async def close(self) -> None:
        return

    def names(self) -> list[str]:
        return [json.loads(body)["job"] for body in self.bodies]

    def received(self) -> list[ReceivedEvent]:
        return [event_of(body, number) for number, body in enumerate(self.bodies)]


@dataclass
class Works:
    """Work that does what a test says, and remembers for whom."""

    do: Do | None = None
    done: list[JobName] = field(default_factory=list)
    resumed: list[bytes | None] = field(default_factory=list)

    async def perform(self, name: JobName, request: bytes, done: bytes | None) -> Made:
        self.done.append(name)
        self.resumed.append(done)
        return await self.do(name, request) if self.do else made()


@dataclass
class Network:
    """Hosts that answer as a test says: the next answer or failure for each request, then 200."""

    answers: list[Answer | Exception] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    async def send(self, request: Request) -> Answer:
        self.requests.append(request)
        await asyncio.sleep(0)
        answer = self.answers.pop(0) if self.answers else Answer(200, {}, b"{}")
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None:
        return


class Holders:
    async def holder(self, key: str) -> str | None:
        return {"key-a": "team-a", "key-b": "team-b"}.get(key)


@dataclass
class Seen:
    """A JobObserver that writes down what it is told."""

    told: list[str] = field(default_factory=list)

    def job_queued(self) -> None:
        self.told.append("queued")

    def job_started(self) -> None:
        self.told.append("started")

    def job_left(self) -> None:
        self.told.append("left")

    def job_ended(self, *, succeeded: bool) -> None:
        self.told.append("succeeded" if succeeded else "failed")

    def callback_attempted(self, told: Told) -> None:
        self.told.append(f"callback {told}")

    def dead_letter_added(self, kind: PutAside) -> None:
        self.told.append(f"dead {kind}")


class Parts:
    """Everything that jobs are made of, put together as the composition root does."""

    def __init__(
        self, tables: Tables, *, trusted: bool = True, wait: float = 0.2, at_once: int = 4, goes_on: bool = True
    ) -> None:
        self.tables = tables
        self.clock = HandClock(datetime(2026, 11, 21, 8, 0, tzinfo=UTC))
        self.hub, self.work, self.network = Hub(), Works(), Network()
        self.rules = JobRules()
        self.store, self.reminders = JobStore(tables), Reminders(tables)
        numbers = itertools.count(1)
        destinations = Destinations.of(HOSTS, GRANTS, SECRETS.get)
        credentials = Credentials(destinations, self.network, self.clock)
        self.seen = Seen()
        dead = JobDeadLetters(tables, self.seen)
        self.deliveries = self._deliveries(destinations, credentials)
        self.runner = self._runner(dead, lambda: f"owner-{next(numbers)}")
        queue, check = JobQueue(self.hub), CallbackCheck(destinations, credentials)
        self.desk = JobDesk(
            self.store,
            self.reminders,
            queue,
            check,
            clock=self.clock,
            new_id=lambda: f"new-{next(numbers)}",
            rules=self.rules,
            observer=self.seen,
        )
        self.once = Once(
            self.store,
            self.desk,
            self.runner,
            clock=self.clock,
            owner=lambda: f"owner-{next(numbers)}",
            wait=wait,
            goes_on=goes_on,
        )
        events = JobEvents(Holders(), trusted=trusted)
        self.batches = JobBatches(events, self.desk, self.runner, dead, clock=self.clock, at_once=at_once)
        self.sweep = Sweep(self.store, self.reminders, queue, self.deliveries, clock=self.clock, rules=self.rules)
        self.oversight = Oversight(
            self.store, self.reminders, dead, queue, events, clock=self.clock, rules=self.rules, observer=self.seen
        )

    def _deliveries(self, destinations: Destinations, credentials: Credentials) -> Deliveries:
        return Deliveries(
            self.store,
            destinations,
            credentials,
            self.network,
            signing_key="k",
            clock=self.clock,
            random=lambda: 0.0,
            observer=self.seen,
        )

    def _runner(self, dead: JobDeadLetters, owner: Callable[[], str]) -> Runner:
        return Runner(
            self.store,
            self.reminders,
            dead,
            work=self.work,
            deliveries=self.deliveries,
            clock=self.clock,
            owner=owner,
            random=lambda: 0.5,
            rules=self.rules,
            observer=self.seen,
        )

    async def job(self, name: JobName) -> Job:
        found = await self.store.get(name)
        assert found is not None
        return found

    async def dead_letters(self) -> list[Entity]:
        return [row async for row in (await self.tables.table(DEAD)).query()]


def made(result: object = None) -> Made:
    return Made(json.dumps(RESULT if result is None else result).encode(), lasting=True)


def half(*codes: str) -> bytes:
    """Return a result whose summary was done, and one task failed for each code."""
    failed = [TaskOutcome(name="reply", status="failed", error=TaskError(code=code, message=code)) for code in codes]
    tasks = (TaskOutcome(name="summary", status="succeeded"), *failed)
    return Made.of(Enrichment(language="en", patch=Patch(), tasks=tasks, usage=NO_TOKENS, cost="0")).result


def order(job_id: str = "one", subscription: str = "team-a", **told: Any) -> Order:
    body = {"ticket": TICKET, "tasks": ["summary"], **told}
    return Order.of(JobName(subscription, job_id), body, JobBody.model_validate(body))


def event_of(told: object, number: int = 0) -> ReceivedEvent:
    body = told if isinstance(told, bytes) else json.dumps(told).encode()
    return ReceivedEvent(body, "0", number, datetime(2026, 11, 21, 8, 0, tzinfo=UTC))
