"""The log of calls."""

import asyncio
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hosting.monitoring import call_log
from hosting.monitoring.call_log import CallLog
from hosting.monitoring.log_levels import OTHERS, OWN, set_log_levels
from local.simulator.faults import Status
from seams.clock import SystemClock
from tests.gateway.catalogs import OPERATOR_KEY
from tests.hosting.calls import ended_call
from tests.hosting.watched import WatchedApp, watched_app


@pytest.fixture(autouse=True)
def levels() -> Iterator[None]:
    """Give every logger back the level that it had."""
    before = {name: logging.getLogger(name).level for name in (*OWN, *OTHERS)}
    yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [json.loads(record.getMessage()) for record in caplog.records if record.name == "tollgate.calls"]


async def written(app: WatchedApp, caplog: pytest.LogCaptureFixture, count: int) -> list[dict[str, Any]]:
    async with asyncio.timeout(30):
        while len(lines(caplog)) < count:
            await asyncio.sleep(0.005)
    return lines(caplog)


async def test_a_line_per_call(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A line tells who called what, where it went, how it ended and what it took."""
    async with watched_app(tmp_path, call_log="1") as app:
        await app.simulators["first"].inject(Status(status=500, times=1))
        await app.ask(stream=True, x_workload_id="nightly")
        line = (await written(app, caplog, 1))[0]
    (billed,) = app.simulators["second"].invoice.lines
    assert datetime.fromisoformat(line.pop("time")).tzinfo == UTC
    assert len(line.pop("request_id")) == 32
    assert line.pop("duration_ms") >= line.pop("first_chunk_ms") >= 0
    assert line == {
        "subscription": "team-a",
        "deployment": "gpt-4o",
        "operation": "chat/completions",
        "status": 200,
        "outcome": "completed",
        "attempts": 2,
        "backend": "second",
        "tried": ["first=500", "second=200"],
        "model": "gpt-4o",
        "streamed": True,
        "prompt_tokens": billed.prompt_tokens,
        "completion_tokens": billed.completion_tokens,
        "workload": "nightly",
    }


async def test_a_refused_call_has_a_line_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A call that no backend answered says with which error; who is nobody fills no log."""
    async with watched_app(tmp_path, call_log="1") as app:
        for simulator in app.simulators.values():
            await simulator.inject(Status(status=429, headers={"retry-after-ms": "60000"}))
        await app.ask(key="nobody's")
        await app.ask()
        (line,) = await written(app, caplog, 1)
    assert (line["status"], line["outcome"], line["code"]) == (429, "refused", "rate_limit_exceeded")
    assert line["tried"] == ["first=429", "second=429"]


@pytest.mark.parametrize("settings", [{}, {"call_log": "0"}, {"call_log": "1", "log_level": "WARNING"}], ids=str)
async def test_silent_unless_asked(tmp_path: Path, caplog: pytest.LogCaptureFixture, settings: dict[str, str]) -> None:
    """By default, switched off, or above level INFO there are no lines."""
    async with watched_app(tmp_path, **settings) as app:
        await app.ask()
        await app.get("/metrics", OPERATOR_KEY)
    assert lines(caplog) == []


async def test_lines_are_bounded(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """What is beyond the bound is counted; what was taken is written before closing ends."""
    monkeypatch.setattr(call_log, "MOST_WAITING", 120)
    caplog.set_level(logging.INFO, "tollgate.calls")
    log = CallLog(SystemClock())
    for number in range(150):
        call, event = ended_call(call_id=str(number))
        log.call_ended(call, [event])
    await log.close()
    assert [line["request_id"] for line in lines(caplog)] == [str(number) for number in range(120)]
    assert log.dropped == 30


@pytest.mark.parametrize("level", ["DEBUG", "INFO", "ERROR"])
def test_the_level_is_ours_alone(level: str) -> None:
    """LOG_LEVEL sets our own loggers; the SDKs, which print what they like below it, stay at WARNING."""
    logging.getLogger("openai").setLevel(logging.DEBUG)
    set_log_levels(level)
    assert logging.getLevelName(logging.getLogger("gateway.attempts.dispatch").getEffectiveLevel()) == level
    for name in ("openai._base_client", "httpx2", "azure.core.pipeline.policies.http_logging_policy"):
        assert logging.getLogger(name).getEffectiveLevel() == logging.WARNING
