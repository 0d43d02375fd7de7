"""OpenTelemetry to Application Insights: metrics, and a span per call, continued from its caller and to its backend.

Imported only where it is switched on: its libraries take half a second. Spans are sampled and whole minutes of it may
be lost with an instance, so nothing is ever billed from it. No attribute holds a prompt, an answer or a key.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, override

from azure.monitor.opentelemetry import configure_azure_monitor
from opentelemetry import metrics, trace
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.trace import Span, SpanKind, StatusCode, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from gateway.call import Call
from gateway.catalog.catalog import Member
from gateway.errors import GatewayError
from gateway.observer import NoObserver, own_event
from gateway.routing.breaker import BreakerState
from gateway.usage import UsageEvent
from hosting.monitoring import semantics as names
from seams.clock import Clock

INSTRUMENTATIONS: Final = (
    "azure_sdk",
    "django",
    "fastapi",
    "flask",
    "httpx",
    "httpx2",
    "psycopg2",
    "requests",
    "urllib",
    "urllib3",
)
"""Libraries that the distribution would patch: calls have spans of ours, and the rest costs more than it tells."""

LOST_EVENTS_LOGGER: Final = "gateway.publishing.delivery"

_W3C: Final = TraceContextTextMapPropagator()


class OpenTelemetry(NoObserver):
    """An Observer that makes spans and metrics. `breaker_states` is asked when metrics are collected."""

    def __init__(
        self,
        tracers: TracerProvider,
        meters: MeterProvider,
        *,
        clock: Clock,
        breaker_states: Callable[[], Mapping[str, BreakerState]],
    ) -> None:
        self._clock = clock
        self._breaker_states = breaker_states
        self._tracer = tracers.get_tracer(names.SCOPE)
        meter = meters.get_meter(names.SCOPE)
        seconds, tokens = list(names.DURATION_BOUNDS), list(names.TOKEN_BOUNDS)
        self._duration = meter.create_histogram(
            names.OPERATION_DURATION, "s", explicit_bucket_boundaries_advisory=seconds
        )
        self._first_chunk = meter.create_histogram(
            names.OPERATION_FIRST_CHUNK, "s", explicit_bucket_boundaries_advisory=seconds
        )
        self._tokens = meter.create_histogram(names.TOKEN_USAGE, "{token}", explicit_bucket_boundaries_advisory=tokens)
        self._attempts = meter.create_counter(names.ATTEMPT_COUNT, "{attempt}")
        self._cooldowns = meter.create_counter(names.COOLDOWN_COUNT, "{cooldown}")
        self._changes = meter.create_counter(names.BREAKER_CHANGES, "{change}")
        self._refusals = meter.create_counter(names.REFUSALS, "{refusal}")
        self._lag = meter.create_histogram(names.EVENT_LAG, "s", explicit_bucket_boundaries_advisory=seconds)
        self._outboxed = meter.create_counter(names.EVENTS_OUTBOXED, "{event}")
        self._replayed = meter.create_counter(names.RECORDS_REPLAYED, "{record}")
        self._lost = meter.create_counter(names.EVENTS_LOST, "{event}")
        self._dropped = meter.create_counter(names.INTENTS_DROPPED, "{intent}")
        meter.create_observable_gauge(names.BREAKER_STATE, [self._observe_breakers])

    @override
    def call_started(self, call: Call) -> None:
        span = self._tracer.start_span(
            f"{names.operation_name(call.target.operation)} {call.deployment.model}",
            _W3C.extract(call.headers),
            SpanKind.CLIENT,
            _asked(call),
        )
        call.trace = span
        call.headers.pop("tracestate", None)
        _W3C.inject(call.headers, trace.set_span_in_context(span))

    @override
    def attempt_failed(self, call: Call, result: str) -> None:
        span = call.trace
        if isinstance(span, Span) and span.is_recording():
            failed: dict[str, AttributeValue] = {
                names.BACKEND: call.member.backend.name,
                names.ATTEMPT: len(call.tried),
                names.RESULT: result,
            }
            span.add_event(names.ATTEMPT_FAILED, failed)

    @override
    def cooled(self, member: Member, seconds: float) -> None:
        self._cooldowns.add(1, {names.BACKEND: member.backend.name})

    @override
    def breaker_changed(self, backend: str, state: BreakerState) -> None:
        self._changes.add(1, {names.BACKEND: backend, names.BREAKER: state})

    @override
    def refused(self, error: GatewayError, call: Call | None) -> None:
        self._refusals.add(1, {names.CODE: error.code, names.STATUS: error.status})

    @override
    def call_ended(self, call: Call, events: Sequence[UsageEvent]) -> None:
        event = own_event(call, events)
        self._measure(call, event)
        for member, result in zip(call.tried, call.results, strict=False):
            self._attempts.add(1, {names.BACKEND: member.backend.name, names.RESULT: result})
        span, call.trace = call.trace, None
        if isinstance(span, Span):
            if span.is_recording():
                _describe(span, call, event)
            span.end()

    @override
    def published(self, events: int, lag: float) -> None:
        self._lag.record(lag)

    @override
    def outboxed(self, events: int) -> None:
        self._outboxed.add(events)

    @override
    def replayed(self, records: int) -> None:
        self._replayed.add(records)

    @override
    def lost(self, events: int) -> None:
        self._lost.add(events)

    @override
    def intents_dropped(self, intents: int) -> None:
        self._dropped.add(intents)

    def _measure(self, call: Call, event: UsageEvent | None) -> None:
        about: dict[str, AttributeValue] = {
            names.PROVIDER: names.AZURE_OPENAI,
            names.OPERATION: names.operation_name(call.target.operation),
            names.REQUEST_MODEL: call.deployment.model,
            names.BACKEND: call.tried[-1].backend.name if call.tried else "",
        }
        if event is not None and (event.meters.prompt_tokens or event.meters.completion_tokens):
            self._tokens.record(event.meters.prompt_tokens, {**about, names.TOKEN_TYPE: names.INPUT})
            self._tokens.record(event.meters.completion_tokens, {**about, names.TOKEN_TYPE: names.OUTPUT})
        if event is not None and event.streamed and call.first_byte_at is not None:
            self._first_chunk.record(call.first_byte_at - call.started, about)
        if failure := _failure(call, event):
            about[names.ERROR_TYPE] = failure
        self._duration.record(self._clock.monotonic() - call.started, about)

    def _observe_breakers(self, _: CallbackOptions) -> Iterable[Observation]:
        for backend, state in self._breaker_states().items():
            yield Observation(names.BREAKER_STATES[state], {names.BACKEND: backend})


def connect(connection_string: str) -> tuple[TracerProvider, MeterProvider]:
    """Return providers that export to Application Insights; takes seconds, for a thread of its own.

    Where the Functions worker has configured the process already (PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY), they
    are the worker's. The log of calls goes the same way: the Functions host drops log lines of no invocation.
    """
    if not isinstance(trace.get_tracer_provider(), SdkTracerProvider):
        configure_azure_monitor(
            connection_string=connection_string,
            logger_name=names.CALLS_LOGGER,
            instrumentation_options={name: {"enabled": False} for name in INSTRUMENTATIONS},
            enable_live_metrics=False,
            enable_performance_counters=False,
        )
        calls = logging.getLogger(names.CALLS_LOGGER)
        calls.propagate = False
        for handler in calls.handlers:
            if isinstance(handler, LoggingHandler):
                logging.getLogger(LOST_EVENTS_LOGGER).addHandler(handler)
    return trace.get_tracer_provider(), metrics.get_meter_provider()


def _asked(call: Call) -> dict[str, AttributeValue]:
    return {
        names.PROVIDER: names.AZURE_OPENAI,
        names.OPERATION: names.operation_name(call.target.operation),
        names.REQUEST_MODEL: call.deployment.model,
        names.REQUEST_STREAM: bool(call.peek.stream),
        names.REQUEST_ID: call.id,
        names.SUBSCRIPTION: call.subscription.name,
        names.DEPLOYMENT: call.deployment.name,
    }


def _describe(span: Span, call: Call, event: UsageEvent | None) -> None:
    span.set_attribute(names.ATTEMPTS, len(call.tried))
    if call.tried:
        span.set_attribute(names.BACKEND, call.member.backend.name)
    if event is not None:
        span.set_attributes(_answered(event))
        if event.streamed and call.first_byte_at is not None:
            span.set_attribute(names.TIME_TO_FIRST_CHUNK, call.first_byte_at - call.started)
    elif call.error is not None:
        span.set_attributes({names.STATUS: call.error.status, names.CODE: call.error.code})
    if failure := _failure(call, event):
        span.set_attribute(names.ERROR_TYPE, failure)
        span.set_status(StatusCode.ERROR)


def _answered(event: UsageEvent) -> dict[str, AttributeValue]:
    return {
        names.RESPONSE_MODEL: f"{event.model}-{event.model_version}" if event.model_version else event.model,
        names.INPUT_TOKENS: event.meters.prompt_tokens,
        names.OUTPUT_TOKENS: event.meters.completion_tokens,
        names.CACHE_READ_TOKENS: event.meters.cached_tokens,
        names.CACHE_WRITE_TOKENS: event.meters.cache_write_tokens,
        names.REASONING_TOKENS: event.meters.reasoning_tokens,
        names.ESTIMATED: event.estimated,
        names.OUTCOME: event.outcome,
        names.STATUS: event.status,
    }


def _failure(call: Call, event: UsageEvent | None) -> str:
    """Return `error.type`: the gateway's own code, the backend's status, or how the answer broke off; else nothing."""
    if event is None:
        return call.error.code if call.error is not None else "client_closed"
    if event.outcome in {"client_closed", "upstream_error"}:
        return event.outcome
    return str(event.status) if event.status >= 400 else ""
