"""`/metrics` of the whole app after real calls."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hosting.monitoring.exposition import exposition
from hosting.monitoring.metrics import MOST_SUBSCRIPTIONS, GatewayMetrics
from local.simulator.faults import Status
from seams.clock import SystemClock
from tests.gateway.catalogs import KEY, OPERATOR_KEY
from tests.hosting.calls import ended_call
from tests.hosting.watched import WatchedApp, watched_app

SAMPLE = re.compile(r'(?P<name>[a-z_]+)(?:\{(?P<labels>(?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)+)\})? (?P<value>[0-9.e+-]+)')
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')

type Series = tuple[str, frozenset[tuple[str, str]]]


def parsed(text: str) -> dict[Series, float]:
    """Return every sample; fails on a line that is neither a comment of the format nor a sample, or comes twice."""
    samples: dict[Series, float] = {}
    for line in text.splitlines():
        if re.fullmatch(r"# (HELP [a-z_]+ .+|TYPE [a-z_]+ (counter|gauge|histogram))", line):
            continue
        match = SAMPLE.fullmatch(line)
        assert match is not None, line
        series = match["name"], frozenset(LABEL.findall(match["labels"] or ""))
        assert series not in samples, line
        samples[series] = float(match["value"])
    return samples


def one(samples: dict[Series, float], name: str, **labels: str) -> float:
    found = [value for (each, has), value in samples.items() if each == name and labels.items() <= dict(has).items()]
    assert len(found) == 1, (name, labels, found)
    return found[0]


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[WatchedApp]:
    async with watched_app(tmp_path) as app:
        yield app


async def durable(app: WatchedApp, events: int) -> dict[Series, float]:
    async with asyncio.timeout(30):
        while one(samples := parsed(await app.scrape()), "tollgate_usage_events_published_total") < events:
            await asyncio.sleep(0.005)
    return samples


async def test_calls_tokens_and_times(app: WatchedApp) -> None:
    """A plain and a streamed call are counted by who, what and where, with their tokens, times and attempts."""
    assert await app.ask() == 200
    assert await app.ask(stream=True) == 200
    samples = await durable(app, 2)
    assert one(samples, "tollgate_prompt_records_dropped_total") == 0
    labels = {"subscription": "team-a", "deployment": "gpt-4o", "backend": "first"}
    assert one(samples, "tollgate_requests_total", **labels, outcome="completed", status="200") == 2
    billed = app.simulators["first"].invoice.lines
    for kind in ("prompt", "completion"):
        total = sum(getattr(line, f"{kind}_tokens") for line in billed)
        assert one(samples, "tollgate_tokens_total", **labels, type=kind) == total > 0
    assert one(samples, "tollgate_request_duration_seconds_count", backend="first") == 2
    assert 0 < one(samples, "tollgate_request_duration_seconds_sum", backend="first") < 10
    assert one(samples, "tollgate_first_chunk_seconds_count", backend="first") == 1
    assert one(samples, "tollgate_attempts_total", backend="first", result="200") == 2
    assert one(samples, "tollgate_requests_in_progress") == 0
    assert one(samples, "tollgate_usage_event_lag_seconds_count") >= 1
    assert one(samples, "tollgate_usage_events_lost_total") == 0


async def test_a_backend_that_is_out(app: WatchedApp) -> None:
    """Failed attempts, cooldowns, an open breaker and the gateway's own refusals are there to be seen."""
    await app.simulators["first"].inject(Status(status=500))
    await app.simulators["second"].inject(Status(status=429, headers={"retry-after-ms": "60000"}))
    statuses = [await app.ask() for _ in range(6)]
    assert set(statuses) <= {429, 503}
    samples = parsed(await app.scrape())
    assert one(samples, "tollgate_attempts_total", backend="first", result="500") == 5
    assert one(samples, "tollgate_attempts_total", backend="second", result="429") == 1
    assert one(samples, "tollgate_breaker_state", backend="first") == 2
    assert one(samples, "tollgate_breaker_state", backend="second") == 0
    assert one(samples, "tollgate_breaker_changes_total", backend="first", state="open") == 1
    assert 50 < one(samples, "tollgate_cooldown_seconds", backend="second", backend_deployment="gpt-4o") <= 60
    refusals = sum(value for (name, _), value in samples.items() if name == "tollgate_refusals_total")
    assert refusals == 6


async def test_no_request_can_make_a_series(app: WatchedApp) -> None:
    """Keys, deployments, operations and workloads that somebody made up leave no names behind, only counts."""
    await app.ask(key="invented-key")
    assert (await app.get("/openai/deployments/invented-name/invented/operation", KEY)).status_code == 404
    assert (await app.get("/openai/deployments/gpt-4o/invented/operation", KEY)).status_code >= 400
    await app.ask(x_workload_id="invented-workload")
    text = await app.scrape()
    assert "invented" not in text
    assert one(parsed(text), "tollgate_refusals_total", code="DeploymentNotFound", status="404") == 1


async def test_metrics_are_for_operators(app: WatchedApp) -> None:
    """Nobody and a subscription are refused in OpenAI's shape, although they are on loopback."""
    for key, status, code in (("", 401, "invalid_api_key"), (KEY, 403, "permission_denied")):
        answer = await app.get("/metrics", key)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    answer = await app.get("/metrics", OPERATOR_KEY)
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


def test_many_subscriptions_share_a_series() -> None:
    """Beyond the limit further subscriptions are counted as one; those that were there keep their own."""
    metrics = GatewayMetrics(SystemClock())
    for number in [*range(MOST_SUBSCRIPTIONS + 50), 0]:
        call, event = ended_call(f"team-{number}")
        metrics.call_started(call)
        metrics.call_ended(call, [event])
    samples = parsed(exposition(metrics.families()))
    assert one(samples, "tollgate_requests_total", subscription="other") == 50
    assert one(samples, "tollgate_requests_total", subscription="team-0") == 2
    assert sum(name == "tollgate_requests_total" for name, _ in samples) == MOST_SUBSCRIPTIONS + 1
