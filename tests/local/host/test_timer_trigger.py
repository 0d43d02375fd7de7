"""Timers: when they run, what they are told, and what is remembered of them."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import azure.functions as func
import pytest
from azure.functions.timer import TimerRequest

from local.host.invocations import Function, NotServable
from local.host.timer_trigger import TimerTrigger, resolved
from seams.clock import SystemClock

START = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)


class Watch(SystemClock):
    """A clock that runs by itself from a time of the test's choice."""

    def __init__(self, start: datetime = START) -> None:
        self._ahead = start - super().now()

    def now(self) -> datetime:
        return super().now() + self._ahead

    def advance(self, seconds: float) -> None:
        self._ahead += timedelta(seconds=seconds)


class Timers:
    """What the function under test was told, run by run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told: list[TimerRequest] = []
        self.running = 0
        self.most_running = 0
        self.pause = 0.0
        self.failures = 0
        self.changed = asyncio.Event()

    async def take(self, timer: TimerRequest) -> None:
        self.told.append(timer)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        self.changed.set()
        await asyncio.sleep(self.pause)
        self.running -= 1
        if self.failures:
            self.failures -= 1
            raise ValueError("on purpose")

    async def until(self, runs: int) -> None:
        async with asyncio.timeout(15):
            while len(self.told) < runs:
                self.changed.clear()
                await self.changed.wait()

    def trigger(self, schedule: str, clock: Watch, retry: dict[str, Any] | None = None, **options: Any) -> TimerTrigger:
        app = func.FunctionApp()

        async def take(timer: TimerRequest) -> None:
            await self.take(timer)

        decorated: Any = app.retry(**retry)(take) if retry else take
        app.timer_trigger(arg_name="timer", schedule=schedule, **options)(decorated)
        return TimerTrigger(Function(app.get_functions()[0], Path("/app")), self.folder, clock, lambda: 0.5)


@pytest.fixture
async def timers(tmp_path: Path) -> Timers:
    return Timers(tmp_path / "timers")


@contextlib.asynccontextmanager
async def running(trigger: TimerTrigger) -> AsyncIterator[None]:
    task = asyncio.create_task(trigger.run())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def status(timers: Timers) -> dict[str, str]:
    kept: dict[str, str] = json.loads((timers.folder / "take.json").read_text())
    return kept


async def test_runs_when_it_is_due(timers: Timers) -> None:
    """A function runs at each of its times, is told no status where these are seconds apart, and leaves no file."""
    async with running(timers.trigger("* * * * * *", Watch())):
        await timers.until(2)
    assert [(timer.past_due, timer.schedule_status) for timer in timers.told[:2]] == [(False, {}), (False, {})]
    assert not timers.folder.exists()


async def test_one_run_at_a_time(timers: Timers) -> None:
    """A run that outlasts the next one's time is followed by it, never overtaken."""
    timers.pause = 1.2
    async with running(timers.trigger("* * * * * *", Watch())):
        await timers.until(3)
    assert timers.most_running == 1


async def test_a_failed_run_is_let_go(timers: Timers) -> None:
    """A run that raises does not end the timer."""
    timers.failures = 1
    async with running(timers.trigger("* * * * * *", Watch())):
        await timers.until(2)


async def test_retries(timers: Timers) -> None:
    """A retry policy holds for timers as it does for events."""
    timers.failures = 2
    retry = {"strategy": "fixed_delay", "max_retry_count": "2", "delay_interval": "00:00:00"}
    async with running(timers.trigger("0 0 0 1 1 *", Watch(), retry=retry, run_on_startup=True)):
        await timers.until(3)


async def test_not_past_due_at_first(timers: Timers) -> None:
    """A timer that never ran is not past due; its first time is remembered from then on."""
    async with running(timers.trigger("0 0 1 * * *", Watch())):
        async with asyncio.timeout(30):
            while not (timers.folder / "take.json").exists():
                await asyncio.sleep(0.01)
    assert timers.told == []
    assert status(timers)["Next"] == "2026-06-02T01:00:00+00:00"


async def test_past_due(timers: Timers) -> None:
    """Where the host was down when a run was due, one run takes place at the next start, and is told so."""
    async with running(timers.trigger("0 0 1 * * *", Watch())):
        async with asyncio.timeout(30):
            while not (timers.folder / "take.json").exists():
                await asyncio.sleep(0.01)
    later = Watch(START + timedelta(days=3))
    async with running(timers.trigger("0 0 1 * * *", later)):
        await timers.until(1)
        async with asyncio.timeout(30):
            while status(timers)["Next"] != "2026-06-05T01:00:00+00:00":
                await asyncio.sleep(0.01)
    assert timers.told[0].past_due
    assert timers.told[0].schedule_status["Next"] == "2026-06-02T01:00:00+00:00"
    async with running(timers.trigger("0 0 1 * * *", later)):
        await asyncio.sleep(0)
    assert len(timers.told) == 1


async def test_a_changed_schedule_is_followed(timers: Timers) -> None:
    """What was missed is judged by the schedule as it is now."""
    async with running(timers.trigger("0 0 1 * * *", Watch())):
        async with asyncio.timeout(30):
            while not (timers.folder / "take.json").exists():
                await asyncio.sleep(0.01)
    async with running(timers.trigger("0 0 0 1 1 *", Watch(START + timedelta(days=3)))):
        await asyncio.sleep(0.05)
    assert timers.told == []


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"Last": 1, "LastUpdated": "yesterday"}'])
async def test_a_spoilt_memory(timers: Timers, content: str) -> None:
    """A file that cannot be read counts as none."""
    timers.folder.mkdir()
    (timers.folder / "take.json").write_text(content)
    async with running(timers.trigger("0 0 1 * * *", Watch())):
        async with asyncio.timeout(30):
            while "2026-06-02" not in (timers.folder / "take.json").read_text():
                await asyncio.sleep(0.01)
    assert timers.told == []


async def test_a_suspended_machine(timers: Timers, monkeypatch: pytest.MonkeyPatch) -> None:
    """A time that passed while the machine slept is served when it wakes, once."""
    monkeypatch.setattr("local.host.timer_trigger._LONGEST_NAP_SECONDS", 0.05)
    watch = Watch()
    async with running(timers.trigger("0 0 1 * * *", watch)):
        await asyncio.sleep(0)
        watch.advance(3 * 86_400)
        await timers.until(1)
        await asyncio.sleep(0.2)
    assert len(timers.told) == 1


async def test_schedules_from_settings(timers: Timers, monkeypatch: pytest.MonkeyPatch) -> None:
    """`%NAME%` is the app setting's value; one that is not set, or makes no schedule, stops the start with its name."""
    monkeypatch.setenv("TICKS", "*/2")
    timers.trigger("%TICKS% * * * * *", Watch())
    assert resolved("%A% 0 %B% * * *", {"A": "1", "B": "2"}) == "1 0 2 * * *"
    with pytest.raises(NotServable, match=r"take.*NOWHERE is not set"):
        timers.trigger("%NOWHERE%", Watch())
    with pytest.raises(NotServable, match=r"00:00:05.*six fields"):
        timers.trigger("00:00:05", Watch())
    with pytest.raises(NotServable, match="no such day"):
        timers.trigger("0 0 0 30 2 *", Watch())
