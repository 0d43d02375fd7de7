"""Spans and metrics by the real OpenTelemetry SDK, of a gateway with real backends."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler
from opentelemetry.trace import SpanKind, StatusCode
from starlette.types import Receive, Scope, Send

from local.simulator.faults import AnyFault, Cut, Status
from tests.gateway.catalogs import KEY, key_hash
from tests.hosting.recorded import Recorded
from tests.hosting.watched import WatchedApp, watched_app
from tests.served import served

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@asynccontextmanager
async def recorded_app(folder: Path, sampler: Sampler = ALWAYS_ON) -> AsyncIterator[tuple[WatchedApp, Recorded]]:
    recorded = Recorded(sampler)
    async with watched_app(folder) as app:
        app.services.monitoring.watch(recorded.observer())
        yield app, recorded


def attributes(span: ReadableSpan) -> Mapping[str, Any]:
    assert span.attributes is not None
    return span.attributes


async def test_a_streamed_call_as_a_span(tmp_path: Path) -> None:
    """A call is a client span with the conventions' name and attributes, and who, where and how many attempts."""
    async with recorded_app(tmp_path) as (app, recorded):
        await app.ask(stream=True)
        span = await recorded.span()
        (billed,) = app.simulators["first"].invoice.lines
    has = dict(attributes(span))
    assert (span.name, span.kind, span.status.status_code) == ("chat gpt-4o", SpanKind.CLIENT, StatusCode.UNSET)
    assert len(has.pop("tollgate.request.id")) == 32
    assert 0 < has.pop("gen_ai.response.time_to_first_chunk") < 10
    assert has == {
        "gen_ai.provider.name": "azure.ai.openai",
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.request.stream": True,
        "gen_ai.response.model": "gpt-4o-2024-11-20",
        "gen_ai.usage.input_tokens": billed.prompt_tokens,
        "gen_ai.usage.output_tokens": billed.completion_tokens,
        "gen_ai.usage.cache_read.input_tokens": 0,
        "gen_ai.usage.cache_write.input_tokens": 0,
        "gen_ai.usage.reasoning.output_tokens": 0,
        "http.response.status_code": 200,
        "tollgate.subscription": "team-a",
        "tollgate.deployment": "gpt-4o",
        "tollgate.backend": "first",
        "tollgate.attempts": 1,
        "tollgate.outcome": "completed",
        "tollgate.estimated": False,
    }


async def test_a_failed_attempt_is_an_event(tmp_path: Path) -> None:
    """An attempt that failed is an event of its call's span, with backend, number and result."""
    async with recorded_app(tmp_path) as (app, recorded):
        await app.simulators["first"].inject(Status(status=503, times=1))
        await app.ask()
        span = await recorded.span()
    (event,) = span.events
    assert event.name == "tollgate.attempt.failed"
    assert event.attributes == {"tollgate.backend": "first", "tollgate.attempt": 1, "tollgate.attempt.result": "503"}
    assert attributes(span)["tollgate.attempts"] == 2


@pytest.mark.parametrize(
    ("fault", "stream", "error"),
    [
        (Status(status=400), False, "400"),
        (Status(status=429, headers={"retry-after-ms": "60000"}), False, "rate_limit_exceeded"),
        (Cut(after_chunks=5), True, "upstream_error"),
    ],
    ids=["the request's fault", "no backend", "cut"],
)
async def test_what_went_wrong(tmp_path: Path, fault: AnyFault, stream: bool, error: str) -> None:
    """An error's kind is on the span and on the duration: a status, the gateway's own code, or how it broke off."""
    async with recorded_app(tmp_path) as (app, recorded):
        for simulator in app.simulators.values():
            await simulator.inject(fault)
        await app.ask(stream=stream)
        span = await recorded.span()
        (duration,) = recorded.points("gen_ai.client.operation.duration")
    assert span.status.status_code == StatusCode.ERROR
    assert attributes(span)["error.type"] == duration.attributes["error.type"] == error


async def test_metrics(tmp_path: Path) -> None:
    """Durations, first chunks, tokens by type, attempts, cooldowns, refusals, lag and breakers are measured."""
    async with recorded_app(tmp_path) as (app, recorded):
        await app.simulators["first"].inject(Status(status=429, headers={"retry-after-ms": "60000"}, times=1))
        await app.ask()
        await app.ask(stream=True)
        await app.ask(key="nobody's")
        async with asyncio.timeout(30):
            while not recorded.points("tollgate.usage_event.lag"):
                await asyncio.sleep(0.005)
        (duration,) = recorded.points("gen_ai.client.operation.duration")
        (first,) = recorded.points("gen_ai.client.operation.time_to_first_chunk")
        tokens = {each.attributes["gen_ai.token.type"]: each for each in recorded.points("gen_ai.client.token.usage")}
        attempts = {tuple(each.attributes.values()): each.value for each in recorded.points("tollgate.attempts")}
        billed = app.simulators["second"].invoice.lines
        assert (duration.count, first.count) == (2, 1)
        assert duration.explicit_bounds[0] == 0.01
        assert duration.attributes == {
            "gen_ai.provider.name": "azure.ai.openai",
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "gpt-4o",
            "tollgate.backend": "second",
        }
        assert tokens["input"].sum == sum(line.prompt_tokens for line in billed)
        assert tokens["output"].sum == sum(line.completion_tokens for line in billed)
        assert attempts == {("first", "429"): 1, ("second", "200"): 2}
        assert [each.value for each in recorded.points("tollgate.cooldowns")] == [1]
        assert [each.attributes["tollgate.error.code"] for each in recorded.points("tollgate.refusals")] == [
            "invalid_api_key"
        ]
        assert [each.value for each in recorded.points("tollgate.breaker.state")] == [1]


@dataclass
class Backend:
    """An ASGI app that answers every call and keeps the headers that it got."""

    headers: list[dict[str, str]] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.headers.append({name.decode(): value.decode() for name, value in scope["headers"]})
        body = b'{"model": "gpt-4o", "usage": {"prompt_tokens": 1, "completion_tokens": 1}}'
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": body})


@pytest.mark.parametrize("sampler", [ALWAYS_ON, ALWAYS_OFF], ids=["sampled", "not sampled"])
async def test_the_callers_trace_goes_on_to_the_backend(
    tmp_path: Path, sampler: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The span continues the caller's trace, and the backend gets the span's own place in it, sampled or not."""
    backend = Backend()
    recorded = Recorded(sampler)
    async with served(backend) as url:
        catalog = {
            "backends": {"only": {"endpoint": url, "auth": {"api_key": "setting:UPSTREAM_KEY"}}},
            "deployments": {"gpt-4o": {"model": "gpt-4o", "pool": [{"backend": "only"}]}},
            "subscriptions": {"team-a": {"key_hashes": [key_hash(KEY)]}},
        }
        async with watched_app(tmp_path, gateway_catalog=json.dumps(catalog)) as app:
            app.services.monitoring.watch(recorded.observer())
            await app.ask(traceparent=PARENT, tracestate="vendor=1")
            await app.ask()
    first, second = (headers["traceparent"].split("-") for headers in backend.headers)
    assert (first[1], first[3]) == (TRACE, "01" if sampler is ALWAYS_ON else "00")
    assert first[2] not in PARENT
    assert backend.headers[0]["tracestate"] == "vendor=1"
    assert second[1] != TRACE
    if sampler is ALWAYS_ON:
        span = recorded.spans.get_finished_spans()[0]
        assert span.parent is not None
        assert f"{span.parent.span_id:016x}" in PARENT
        assert f"{span.context.span_id:016x}" == first[2]
    else:
        assert recorded.spans.get_finished_spans() == ()
