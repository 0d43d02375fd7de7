"""A Functions host for one machine: serves what `function_app.py` registers, without Core Tools and without Azure.

HTTP triggers by uvicorn, Event Hub triggers from the sources it is given, timers by the clock, each as the real
host and the Python worker do it. Other triggers are named in `Host.not_served`.
"""

import asyncio
import contextlib
import json
import logging
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from random import SystemRandom
from typing import Any, Final

import uvicorn

from local.events.event_source import EventSource
from local.host.event_trigger import EventHubTrigger
from local.host.http_heads import BoundedHeads
from local.host.http_trigger import HttpTriggers
from local.host.invocations import EVENT_HUB, HTTP, TIMER, Function, load_functions
from local.host.timer_trigger import TimerTrigger
from seams.clock import SystemClock

_log: Final = logging.getLogger(__name__)
_DEFAULT_MAX_BATCH: Final = 100
_GRACE_SECONDS: Final = 1


class Host:
    """The app in `directory`, loaded: made inside the event loop that serves it, as the worker imports the app.

    `timers` is the folder that keeps when timers last ran.

    Raises local.host.invocations.NotServable, and whatever the app raises as it is imported.
    """

    def __init__(self, directory: Path, source: Callable[[str], EventSource], timers: Path) -> None:
        self._settings = _host_settings(directory)
        self._source = source
        functions = load_functions(directory)
        self._http = [function for function in functions if function.kind == HTTP]
        self._event_hubs = [function for function in functions if function.kind == EVENT_HUB]
        self._timers = [
            TimerTrigger(function, timers, SystemClock(), SystemRandom().random)
            for function in functions
            if function.kind == TIMER
        ]
        served = (HTTP, EVENT_HUB, TIMER)
        self.not_served: Final = [
            f"{function.name} ({function.kind})" for function in functions if function.kind not in served
        ]

    def http(self) -> HttpTriggers:
        """Return the ASGI app that answers for the HTTP triggers."""
        return HttpTriggers(self._http, self._settings.get("http", {}).get("routePrefix", "api"), streams=streams_on())

    @contextlib.asynccontextmanager
    async def triggers(self) -> AsyncIterator[None]:
        """Serve Event Hub triggers and timers while the block runs; a batch that is cut off comes again."""
        max_batch = int(self._settings.get("eventHubs", {}).get("maxEventBatchSize", _DEFAULT_MAX_BATCH))
        serving = [self._event_hub(function, max_batch).run() for function in self._event_hubs]
        tasks = [asyncio.create_task(each) for each in (*serving, *(timer.run() for timer in self._timers))]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(outcome, Exception):
                    _log.error("a trigger ended: %r", outcome)

    def _event_hub(self, function: Function, max_batch: int) -> EventHubTrigger:
        return EventHubTrigger(
            function, self._source(function.trigger.event_hub_name), max_batch, SystemRandom().random
        )


class HttpServer(uvicorn.Server):
    """uvicorn as performance calls for it; whoever runs it decides what a signal does."""

    def __init__(self, app: HttpTriggers) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=BoundedHeads,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                proxy_headers=False,
                timeout_keep_alive=75,
                backlog=4096,
                timeout_graceful_shutdown=_GRACE_SECONDS,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the process's signal handlers alone."""
        yield

    def stop(self) -> None:
        """End serving; open answers are cut after a second, and at once when asked again.

        That they are cut is no error any more, and uvicorn need not say so.
        """
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        self.force_exit = self.should_exit
        self.should_exit = True


def streams_on() -> bool:
    """Tell whether the app has turned HTTP streams on, the way the worker finds out: by what was imported."""
    base = sys.modules.get("azurefunctions.extensions.base")
    return base is not None and bool(base.HttpV2FeatureChecker.http_v2_enabled())


def _host_settings(directory: Path) -> dict[str, Any]:
    """Return the `extensions` of host.json."""
    path = directory / "host.json"
    settings: dict[str, Any] = json.loads(path.read_text()).get("extensions", {}) if path.exists() else {}
    return settings
