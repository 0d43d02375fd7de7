"""A gateway on a real port, with simulated backends behind it and its usage events in a list."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

from openai import AsyncAzureOpenAI, AsyncOpenAI

from chargeback.prices import Prices
from gateway import usage
from gateway.answers.relay import Relay, StreamRules
from gateway.attempts.dispatch import Dispatcher, DispatchRules
from gateway.cache.cache import Cache
from gateway.cache.embeddings import Embeddings
from gateway.cache.kept_rows import KeptRows
from gateway.catalog.catalog_file import load_catalog
from gateway.identity.callers import Callers
from gateway.limits.limiter import Limiter
from gateway.limits.sharing import Sharing
from gateway.metering.metering import Meter
from gateway.metering.open_responses import OpenResponses
from gateway.metering.tokens import TokenCounter
from gateway.observer import UNOBSERVED, Observer
from gateway.publishing.delivery import Delivery
from gateway.publishing.outbox import Outbox
from gateway.publishing.publisher import UsagePublisher
from gateway.requests.bodies import BodyRules
from gateway.requests.intake import Intake
from gateway.routes import Gateway
from gateway.routing.affinity import Affinity
from gateway.routing.breaker import BreakerRules
from gateway.routing.pool import Pool
from gateway.routing.shared_cooldowns import SharedCooldowns
from gateway.safety.prompt_log import PromptLog
from gateway.safety.shield import NO_DETECTOR, PromptShield
from gateway.subscriptions.catalog_directory import CatalogDirectory
from gateway.upstream.http11 import Http11Upstream
from gateway.usage import Record, UsageEvent
from hosting.services.charges import StatementPricing
from local.simulator.server import Simulator
from seams.clock import Clock, SystemClock
from seams.tables import Table, Tables, TableUnavailable
from tests.gateway.catalogs import KEY, UPSTREAM_KEY, catalog_of
from tests.served import served


@dataclass
class RecordingStream:
    """An event stream that keeps what it acknowledges."""

    bodies: list[bytes] = field(default_factory=list)

    @property
    def records(self) -> list[Record]:
        return [usage.decode(body) for body in self.bodies]

    async def publish(self, bodies: Sequence[bytes], key: str) -> None:
        self.bodies.extend(bodies)

    async def incarnation(self) -> str:
        return "test"

    async def ends(self) -> Mapping[str, int]:
        return {}

    async def close(self) -> None:
        return


@dataclass
class RunningGateway:
    """`url` has no trailing slash."""

    url: str
    stream: RecordingStream
    simulators: dict[str, Simulator]
    clients: dict[str, AsyncOpenAI] = field(default_factory=dict)

    @property
    def events(self) -> list[UsageEvent]:
        return [record for record in self.stream.records if isinstance(record, UsageEvent)]

    async def settled(self, count: int) -> list[UsageEvent]:
        """Return the events once there are `count`; a caller has its last byte before its event is out."""
        async with asyncio.timeout(30):
            while len(self.events) < count:
                await asyncio.sleep(0.005)
        return self.events

    async def close(self) -> None:
        for client in self.clients.values():
            await client.close()

    def azure(self, key: str = KEY, api_version: str = "2024-10-21") -> AsyncOpenAI:
        name = f"azure {key} {api_version}"
        if name not in self.clients:
            self.clients[name] = AsyncAzureOpenAI(
                azure_endpoint=self.url, api_key=key, max_retries=0, api_version=api_version
            )
        return self.clients[name]

    def openai(self, key: str = KEY, path: str = "/openai/v1/") -> AsyncOpenAI:
        name = f"{path} {key}"
        if name not in self.clients:
            self.clients[name] = AsyncOpenAI(base_url=self.url + path, api_key=key, max_retries=0)
        return self.clients[name]


@dataclass(frozen=True)
class Timeouts:
    first_byte: float = 20.0
    idle: float = 20.0
    body: float = 20.0
    heartbeat: float = 20.0


class Closing(Protocol):
    async def close(self) -> None: ...


@asynccontextmanager
async def run_gateway(
    simulators: dict[str, Simulator],
    counter: TokenCounter,
    *,
    catalog: dict[str, Any] | None = None,
    timeouts: Timeouts | None = None,
    body_limit: int = 1_000_000,
    spool: int = 10_000_000,
    random: bool = False,
    tables: Tables | None = None,
    sharing: Sharing | None = None,
    clock: Clock | None = None,
    observer: Observer = UNOBSERVED,
    shield: PromptShield = NO_DETECTOR,
    prompt_log: PromptLog | None = None,
    intents: bool = True,
) -> AsyncIterator[RunningGateway]:
    """Serve a gateway on a free loopback port, in this event loop; `tables` may be another gateway's, too."""
    timeouts = timeouts or Timeouts()
    parsed = load_catalog(json.dumps(catalog or catalog_of(simulators)), {"UPSTREAM_KEY": UPSTREAM_KEY}.get)
    clock = clock or SystemClock()
    affinity = Affinity(tables or NoTables(), clock)
    stream = RecordingStream()
    upstream = Http11Upstream(connect_timeout=2)
    meter = Meter(counter, _publisher(stream, tables or NoTables(), clock, observer, intents=intents), clock, observer)
    number = Random(7).random if random else lambda: 0.5
    pool = Pool(number, BreakerRules(), timeouts.first_byte, observer)
    cooldowns = SharedCooldowns(tables or NoTables(), pool, clock)
    await cooldowns.read()
    dispatcher = _dispatcher(pool, upstream, cooldowns, meter, clock=clock, timeouts=timeouts, observer=observer)
    cache = Cache(KeptRows(tables or NoTables(), clock), Embeddings(), clock)
    limiter = Limiter(clock, StatementPricing(Prices()), sharing)
    parts = (upstream, cooldowns, limiter, meter, cache)
    gateway = Gateway(
        parsed,
        Callers(CatalogDirectory(parsed)),
        intake=Intake(parsed, affinity, clock, BodyRules(body_limit, timeouts.body, spool)),
        dispatcher=dispatcher,
        relay=Relay(StreamRules(timeouts.idle, timeouts.heartbeat), affinity.learn),
        meter=meter,
        affinity=affinity,
        limiter=limiter,
        cache=cache,
        responses=OpenResponses(tables or NoTables(), clock),
        shield=shield,
        prompt_log=prompt_log,
        observer=observer,
    )
    async with _running(gateway, parts, stream, simulators) as running:
        yield running


@asynccontextmanager
async def _running(
    gateway: Gateway, parts: Sequence[Closing], stream: RecordingStream, simulators: dict[str, Simulator]
) -> AsyncIterator[RunningGateway]:
    async with AsyncExitStack() as closing:
        for part in parts:
            closing.push_async_callback(part.close)
        url = await closing.enter_async_context(served(gateway))
        running = RunningGateway(url, stream, simulators)
        closing.push_async_callback(running.close)
        yield running


def _publisher(
    stream: RecordingStream, tables: Tables, clock: Clock, observer: Observer, *, intents: bool
) -> UsagePublisher:
    return UsagePublisher(Delivery(stream, Outbox(tables, clock, "one"), observer), intents=intents)


def _dispatcher(
    pool: Pool,
    upstream: Http11Upstream,
    cooldowns: SharedCooldowns,
    meter: Meter,
    *,
    clock: Clock,
    timeouts: Timeouts,
    observer: Observer,
) -> Dispatcher:
    return Dispatcher(
        pool,
        upstream,
        cooldowns,
        tokens=NoTokens(),
        clock=clock,
        rules=DispatchRules(attempts=5, first_byte=timeouts.first_byte, deadline=30, wait=2),
        random=lambda: 0.5,
        announce=meter.announce,
        observer=observer,
    )


class NoTables:
    """Storage that is out of reach."""

    async def table(self, name: str) -> Table:
        raise TableUnavailable(f"no table {name} here")

    async def close(self) -> None:
        return


class NoTokens:
    async def token(self) -> str:
        raise AssertionError("no backend here is reached by identity")

    async def close(self) -> None:
        return
