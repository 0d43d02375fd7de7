"""Counts of this instance for `/metrics`: a few additions a call, put into text only when somebody scrapes.

Labels hold names of the catalog and of known subscriptions alone, so that no request can invent a series; beyond
MOST_SUBSCRIPTIONS the others are counted together.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, override

from gateway.call import Call
from gateway.catalog.catalog import Member
from gateway.errors import GatewayError
from gateway.observer import NoObserver, own_event
from gateway.routing.breaker import BreakerState
from gateway.usage import Meters, UsageEvent
from hosting.monitoring.exposition import Family, Histogram, Labels, Samples
from hosting.monitoring.semantics import DURATION_BOUNDS, OTHER, REFUSED
from seams.clock import Clock

MOST_SUBSCRIPTIONS: Final = 500

LAG_BOUNDS: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds from an event's hand-over to its acknowledgement; publishing gathers events for 2 ms first."""

_CALL: Final = ("subscription", "deployment", "backend", "outcome", "status")
_ROUTE: Final = ("deployment", "backend")


@dataclass(slots=True)
class _Tokens:
    prompt: int = 0
    cached: int = 0
    completion: int = 0
    reasoning: int = 0

    def add(self, meters: Meters) -> None:
        self.prompt += meters.prompt_tokens
        self.cached += meters.cached_tokens
        self.completion += meters.completion_tokens
        self.reasoning += meters.reasoning_tokens


class GatewayMetrics(NoObserver):
    """An Observer that counts."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._under_way = 0
        self._calls: defaultdict[Labels, int] = defaultdict(int)
        self._tokens: defaultdict[Labels, _Tokens] = defaultdict(_Tokens)
        self._durations: dict[Labels, Histogram] = {}
        self._first_chunks: dict[Labels, Histogram] = {}
        self._attempts: defaultdict[Labels, int] = defaultdict(int)
        self._cooldowns: defaultdict[Labels, int] = defaultdict(int)
        self._breaker_changes: defaultdict[Labels, int] = defaultdict(int)
        self._refusals: defaultdict[Labels, int] = defaultdict(int)
        self._subscriptions: set[str] = set()
        self._published = 0
        self._lag = Histogram(LAG_BOUNDS)
        self._outboxed = self._replayed = self._lost = self._dropped = 0

    @override
    def call_started(self, call: Call) -> None:
        self._under_way += 1

    @override
    def cooled(self, member: Member, seconds: float) -> None:
        self._cooldowns[(member.backend.name, member.deployment)] += 1

    @override
    def breaker_changed(self, backend: str, state: BreakerState) -> None:
        self._breaker_changes[(backend, state)] += 1

    @override
    def refused(self, error: GatewayError, call: Call | None) -> None:
        self._refusals[(error.code, str(error.status))] += 1

    @override
    def call_ended(self, call: Call, events: Sequence[UsageEvent]) -> None:
        self._under_way -= 1
        event = own_event(call, events)
        backend = call.tried[-1].backend.name if call.tried else ""
        route = (call.deployment.name, backend)
        subscription = self._known(call.subscription.name)
        for each in events:
            if not each.replayed:
                self._tokens[(subscription, call.deployment.name, each.backend)].add(each.meters)
        outcome, status = _end(call, event)
        self._calls[(subscription, call.deployment.name, backend, outcome, status)] += 1
        _observe(self._durations, route, self._clock.monotonic() - call.started)
        if event is not None and event.streamed and call.first_byte_at is not None:
            _observe(self._first_chunks, route, call.first_byte_at - call.started)
        for member, result in zip(call.tried, call.results, strict=False):
            self._attempts[(member.backend.name, result)] += 1

    @override
    def published(self, events: int, lag: float) -> None:
        self._published += events
        self._lag.observe(lag)

    @override
    def outboxed(self, events: int) -> None:
        self._outboxed += events

    @override
    def replayed(self, records: int) -> None:
        self._replayed += records

    @override
    def lost(self, events: int) -> None:
        self._lost += events

    @override
    def intents_dropped(self, intents: int) -> None:
        self._dropped += intents

    def families(self) -> Iterator[Family]:
        """Yield everything that was counted since the instance started."""
        yield from self._of_calls()
        yield from self._of_backends()
        yield from self._of_publishing()

    def _of_calls(self) -> Iterator[Family]:
        yield _counter("requests", "Calls that are over, by their end.", _CALL, self._calls.items())
        yield Family("tollgate_requests_in_progress", "gauge", "Calls under way.", (), [((), self._under_way)])
        yield _counter(
            "tokens",
            "Tokens by type; cached are part of prompt, reasoning part of completion.",
            ("subscription", "deployment", "backend", "type"),
            self._token_samples().items(),
        )
        yield _histogram(
            "request_duration", "From a request's start to its answer's end.", _ROUTE, self._durations.items()
        )
        yield _histogram(
            "first_chunk", "From a request's start to its stream's first bytes.", _ROUTE, self._first_chunks.items()
        )
        yield _counter(
            "refusals", "Errors that the gateway itself answered with.", ("code", "status"), self._refusals.items()
        )

    def _of_backends(self) -> Iterator[Family]:
        yield _counter(
            "attempts", "Attempts by result: a status or a word.", ("backend", "result"), self._attempts.items()
        )
        yield _counter(
            "cooldowns",
            "Times that a backend's answer made it cool down.",
            ("backend", "backend_deployment"),
            self._cooldowns.items(),
        )
        yield _counter(
            "breaker_changes",
            "Times that a breaker was opened or closed.",
            ("backend", "state"),
            self._breaker_changes.items(),
        )

    def _of_publishing(self) -> Iterator[Family]:
        yield _counter("usage_events_published", "Usage events that the hub took.", (), [((), self._published)])
        yield _counter("usage_events_outboxed", "Usage events in the outbox instead.", (), [((), self._outboxed)])
        yield _counter("usage_records_replayed", "Records from the outbox to the hub.", (), [((), self._replayed)])
        yield _counter("usage_events_lost", "Usage events that no store took; must be 0.", (), [((), self._lost)])
        yield _counter("intents_dropped", "Intents that were not published.", (), [((), self._dropped)])
        yield _histogram(
            "usage_event_lag",
            "From an event's hand-over to its acknowledgement, the oldest of a batch.",
            (),
            [((), self._lag)],
        )

    def _known(self, subscription: str) -> str:
        if subscription not in self._subscriptions:
            if len(self._subscriptions) >= MOST_SUBSCRIPTIONS:
                return OTHER
            self._subscriptions.add(subscription)
        return subscription

    def _token_samples(self) -> dict[Labels, int]:
        return {
            (*labels, kind): getattr(tokens, kind)
            for labels, tokens in self._tokens.items()
            for kind in ("prompt", "cached", "completion", "reasoning")
        }


def _end(call: Call, event: UsageEvent | None) -> tuple[str, str]:
    if event is not None:
        return event.outcome, str(event.status)
    return REFUSED, str(call.error.status) if call.error is not None else ""


def _observe(histograms: dict[Labels, Histogram], labels: Labels, value: float) -> None:
    histogram = histograms.get(labels)
    if histogram is None:
        histogram = histograms[labels] = Histogram(DURATION_BOUNDS)
    histogram.observe(value)


def _counter(name: str, text: str, labels: tuple[str, ...], samples: Samples) -> Family:
    return Family(f"tollgate_{name}_total", "counter", text, labels, samples)


def _histogram(name: str, text: str, labels: tuple[str, ...], samples: Samples) -> Family:
    return Family(f"tollgate_{name}_seconds", "histogram", text, labels, samples)
