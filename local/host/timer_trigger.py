"""Timer triggers by the rules of the real one.

A function runs when its schedule says, one run at a time; a run that outlasts the next one's time is followed by that
one at once. What is seldom, once a minute or less, is remembered in the state folder: where this host was not running
when a run was due, that run takes place at the start and is told that it is past due. Sources: TimerListener,
TimerSchedule and ScheduleMonitor of Microsoft.Azure.WebJobs.Extensions.
"""

import asyncio
import json
import logging
import os
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import azure.functions as func
from azure.functions.timer import TimerRequest

from local.host.invocations import Function, NotServable
from local.host.schedule import Schedule
from seams.clock import Clock

_SETTING: Final = re.compile(r"%([^%]+)%")
_NEVER: Final = "0001-01-01T00:00:00+00:00"
_LONGEST_NAP_SECONDS: Final = 10.0
"""A machine that was suspended finds out so much later at most."""

_log: Final = logging.getLogger(__name__)


class TimerTrigger:
    """One function's timer. `folder` keeps when it last ran. Raises NotServable for a schedule that is none."""

    def __init__(self, function: Function, folder: Path, clock: Clock, random: Callable[[], float]) -> None:
        trigger = function.trigger
        self._function = function
        self._clock = clock
        self._random = random
        self._schedule = _schedule(function.name, trigger.schedule, clock.now())
        self._runs_at_start = bool(trigger.run_on_startup)
        remembered = trigger.use_monitor is not False and not _frequent(self._schedule, clock.now())
        self._file = folder / f"{function.name}.json" if remembered else None
        self._last: str = _NEVER

    async def run(self) -> None:
        """Serve the timer until cancelled."""
        due, past_due = self._begin(self._clock.now())
        if past_due or self._runs_at_start:
            due = await self._fire(self._clock.now(), due, past_due=past_due)
        while True:
            await self._until(due)
            # A clock that is set back while the nap ends must not make the same run come twice.
            due = await self._fire(max(self._clock.now(), due), due, past_due=False)

    async def _until(self, due: datetime) -> None:
        while (wait := (due - self._clock.now()).total_seconds()) > 0:  # noqa: ASYNC110 - time is what is waited for
            await asyncio.sleep(min(wait, _LONGEST_NAP_SECONDS))

    async def _fire(self, now: datetime, due: datetime, *, past_due: bool) -> datetime:
        """Run the function once and return when it is due again."""
        await self._function.deliver(_request(self._status(due, now), past_due=past_due), self._random)
        self._last = now.isoformat()
        following = self._schedule.after(now)
        self._remember(following, now)
        return following

    def _begin(self, now: datetime) -> tuple[datetime, bool]:
        """Return when the function is due, and whether that is past; a changed schedule is followed as it is now."""
        remembered = self._remembered()
        if remembered is None:
            due = self._schedule.after(now)
            self._remember(due, now)
            return due, False
        self._last, since = remembered
        due = self._schedule.after(since)
        return due, due < now

    def _status(self, due: datetime, now: datetime) -> dict[str, str] | None:
        if self._file is None:
            return None
        return {"Last": self._last, "Next": due.isoformat(), "LastUpdated": now.isoformat()}

    def _remembered(self) -> tuple[str, datetime] | None:
        """Return when the function last ran, and the time from which the next run counts."""
        if self._file is None or not self._file.exists():
            return None
        try:
            status = json.loads(self._file.read_text())
            return str(status["Last"]), datetime.fromisoformat(status["LastUpdated"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            _log.warning("%s cannot be read; %s starts anew: %s", self._file, self._function.name, error)
            return None

    def _remember(self, due: datetime, now: datetime) -> None:
        if self._file is None:
            return
        written = self._file.with_suffix(".new")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            written.write_text(json.dumps(self._status(due, now)))
            written.replace(self._file)
        except OSError as error:
            _log.warning("%s cannot be written: %s", self._file, error)


def resolved(expression: str, settings: Mapping[str, str]) -> str:
    """Return a schedule with each `%NAME%` replaced by the app setting. Raises ValueError where one is not set."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in settings:
            raise ValueError(f"the app setting {match[1]} is not set")
        return settings[match[1]]

    return _SETTING.sub(value, expression)


def _schedule(name: str, expression: str, now: datetime) -> Schedule:
    try:
        schedule = Schedule.parse(resolved(expression, os.environ))
        schedule.after(now)
    except ValueError as error:
        raise NotServable(f"{name}: the schedule {expression!r} cannot be followed: {error}.") from error
    return schedule


def _frequent(schedule: Schedule, now: datetime) -> bool:
    """Tell whether it is due twice within the next minute, which the real host takes for a schedule of seconds."""
    return schedule.after(schedule.after(now)) < now + timedelta(minutes=1)


def _request(status: Any, *, past_due: bool) -> func.TimerRequest:
    return TimerRequest(past_due=past_due, schedule_status=status, schedule={"AdjustForDST": True})
