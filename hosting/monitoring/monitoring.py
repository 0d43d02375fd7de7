"""Everything that watches one instance: counts, the log of calls, telemetry where it is switched on, readiness."""

import asyncio
import contextvars
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from chargeback.prices import Prices
from gateway.catalog.catalog import Catalog
from gateway.metering.tokens import TokenCounter
from gateway.observer import Observer
from gateway.publishing.delivery import Delivery
from gateway.publishing.publisher import UsagePublisher
from gateway.routing.breaker import BreakerState
from gateway.routing.pool import Pool
from gateway.safety.prompt_log import PromptLog
from hosting.monitoring.call_log import CallLog
from hosting.monitoring.exposition import Family, exposition
from hosting.monitoring.health import Finding, Readiness, storage_check, stream_finding
from hosting.monitoring.job_metrics import JobMetrics
from hosting.monitoring.metrics import GatewayMetrics
from hosting.monitoring.observers import Observers
from hosting.monitoring.semantics import BREAKER_STATES, CALLS_LOGGER
from hosting.settings import Settings
from seams.clock import Clock
from seams.tables import Tables

if TYPE_CHECKING:
    from hosting.monitoring.telemetry import OpenTelemetry

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Watchers:
    """Who is told of calls. `calls` is None where no line per call is asked for."""

    observers: Observers
    metrics: GatewayMetrics
    jobs: JobMetrics
    calls: CallLog | None

    @classmethod
    def of(cls, settings: Settings, clock: Clock) -> "Watchers":
        metrics, jobs = GatewayMetrics(clock), JobMetrics()
        asked = settings.call_log == "1" or (settings.call_log == "auto" and bool(settings.application_insights))
        if not (asked and logging.getLogger(CALLS_LOGGER).isEnabledFor(logging.INFO)):
            return cls(Observers(metrics), metrics, jobs, None)
        calls = CallLog(clock)
        return cls(Observers(metrics, calls), metrics, jobs, calls)


@dataclass(frozen=True, slots=True)
class Watched:
    """What is looked at when somebody asks."""

    catalog: Catalog
    pool: Pool
    publisher: UsagePublisher
    delivery: Delivery
    tables: Tables
    counter: TokenCounter
    prices: Prices
    prompt_log: PromptLog


class Monitoring:
    """`readiness` answers for `/readyz`; `start` belongs to the app's start-up, once."""

    def __init__(self, settings: Settings, clock: Clock, watchers: Watchers, watched: Watched) -> None:
        self._insights = settings.application_insights
        self._clock = clock
        self._watchers = watchers
        self._watched = watched
        self._connecting: asyncio.Task[None] | None = None
        checks = {
            "catalog": self._catalog,
            "storage": storage_check(watched.tables),
            "event_stream": self._event_stream,
            "vocabulary": self._vocabulary,
            "price_book": self._price_book,
        }
        self.readiness: Final = Readiness(checks, clock)

    def scrape(self) -> str:
        """Return what `/metrics` answers."""
        return exposition((*self._watchers.metrics.families(), *self._watchers.jobs.families(), *self._gauges()))

    def watch(self, observer: Observer) -> None:
        """Tell one more of what happens."""
        self._watchers.observers.add(observer)

    def start(self) -> None:
        """Switch telemetry on where Application Insights is set, while the first calls are already answered."""
        if self._insights:
            self._connecting = asyncio.create_task(self._connect(), name="telemetry", context=contextvars.Context())

    async def close(self) -> None:
        """Write the last lines of the log; what telemetry holds is flushed as the process ends in good order."""
        if self._connecting is not None:
            await asyncio.wait([self._connecting])
        if self._watchers.calls is not None:
            await self._watchers.calls.close()

    async def _connect(self) -> None:
        try:
            observer = await asyncio.to_thread(self._telemetry)
        except Exception:  # noqa: BLE001 - whatever the libraries raise, calls are answered without them
            _log.exception("No telemetry: Application Insights could not be set up")
            return
        self.watch(observer)

    def _telemetry(self) -> "OpenTelemetry":
        # Half a second of imports that most processes never need.
        from hosting.monitoring.telemetry import OpenTelemetry, connect  # noqa: PLC0415

        return OpenTelemetry(*connect(self._insights), clock=self._clock, breaker_states=self._breaker_states)

    def _breaker_states(self) -> Mapping[str, BreakerState]:
        states: dict[str, BreakerState] = dict.fromkeys(self._watched.catalog.backends, "closed")
        states.update(self._watched.pool.breaker_states(self._clock.monotonic()))
        return states

    def _gauges(self) -> Iterator[Family]:
        states = [((name,), BREAKER_STATES[state]) for name, state in self._breaker_states().items()]
        cooldowns = self._watched.pool.cooldowns(self._clock.monotonic()).items()
        dropped = self._watchers.calls.dropped if self._watchers.calls is not None else 0
        yield Family("tollgate_breaker_state", "gauge", "0 closed, 1 half-open, 2 open.", ("backend",), states)
        yield Family(
            "tollgate_cooldown_seconds",
            "gauge",
            "Seconds that a deployment of a backend is left alone yet.",
            ("backend", "backend_deployment"),
            cooldowns,
        )
        waiting = [((), self._watched.publisher.waiting)]
        lines = [((), dropped)]
        kept = [((), self._watched.delivery.state().kept)]
        yield Family("tollgate_usage_events_waiting", "gauge", "Usage events that wait for a batch.", (), waiting)
        yield Family("tollgate_usage_events_in_memory", "gauge", "Usage events that no store takes now.", (), kept)
        yield Family("tollgate_log_lines_dropped_total", "counter", "Lines of calls not written.", (), lines)
        prompts = [((), self._watched.prompt_log.dropped)]
        yield Family(
            "tollgate_prompt_records_dropped_total", "counter", "Calls missing in the log of prompts.", (), prompts
        )

    async def _catalog(self) -> Finding:
        catalog = self._watched.catalog
        return Finding(ok=True, facts={"backends": len(catalog.backends), "deployments": len(catalog.deployments)})

    async def _event_stream(self) -> Finding:
        return stream_finding(self._watched.publisher.waiting, self._watched.delivery.state())

    async def _vocabulary(self) -> Finding:
        loaded = self._watched.counter.loaded()
        return Finding(ok=bool(loaded), facts={"state": {None: "loading", True: "loaded", False: "missing"}[loaded]})

    async def _price_book(self) -> Finding:
        today = self._clock.now().date()
        facts: dict[str, str | int | float | bool] = {"version": version("genai-prices")}
        change = self._watched.prices.latest_change(today)
        if change is not None:
            facts |= {"latest_change": change.isoformat(), "days_since": (today - change).days}
        return Finding(ok=True, facts=facts)
