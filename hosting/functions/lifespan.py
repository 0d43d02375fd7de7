"""The ASGI lifespan protocol inside a Functions worker: one start-up per process, and no shut-down.

The host kills its worker: nothing may be kept for a shut-down. `stop` exists for hosts that end in good order, which
are those of tests.
"""

import asyncio
import logging
from typing import Any, Final

from starlette.types import ASGIApp, Message

_log: Final = logging.getLogger(__name__)


class StartupFailed(Exception):
    """The app's start-up raised or reported a failure; the message is the app's own."""


class Lifespan:
    """Starts an ASGI app once, however many requests wait for it; after a failure the next request starts it anew.

    Made inside a running event loop, as the worker imports `function_app`, it begins at once.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._current: _Startup | None = None
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        self._current = _Startup(app)

    @property
    def state(self) -> dict[str, Any]:
        """What the app put into the lifespan's state; every request gets a shallow copy."""
        return self._current.state if self._current is not None else {}

    async def started(self) -> None:
        """Return once the app has started. Raises StartupFailed to everyone who waited for the attempt that failed."""
        startup = self._current
        if startup is None or startup.failed:
            startup = self._current = _Startup(self._app)
        if not startup.complete:
            await asyncio.shield(startup.outcome)

    async def stop(self) -> None:
        """Run the app's shut-down, where it had started."""
        if self._current is not None:
            await self._current.stop()
            self._current = None


class _Startup:
    """One attempt: a task that lives as long as the app, and a future that tells how starting went."""

    def __init__(self, app: ASGIApp) -> None:
        self.state: dict[str, Any] = {}
        self.complete = False
        self.outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reported = ""
        self._events: asyncio.Queue[Message] = asyncio.Queue(maxsize=2)
        self._events.put_nowait({"type": "lifespan.startup"})
        self._task = asyncio.create_task(self._run(app), name="lifespan")

    @property
    def failed(self) -> bool:
        return self.outcome.done() and not self.complete

    async def stop(self) -> None:
        if not self._task.done():
            self._events.put_nowait({"type": "lifespan.shutdown"})
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, app: ASGIApp) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        try:
            await app(scope, self._events.get, self._send)
        except asyncio.CancelledError:
            self.outcome.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - whatever an app raises is its start-up's failure
            self._conclude(error)
        else:
            self._conclude(None)

    async def _send(self, message: Message) -> None:
        if message["type"] == "lifespan.startup.complete":
            self._succeed()
        elif message["type"] == "lifespan.startup.failed":
            self._reported = message.get("message") or "the app gave no reason"
        elif message["type"] == "lifespan.shutdown.failed" and not self._task.cancelling():
            _log.error("shut-down failed: %s", message.get("message", ""))

    def _conclude(self, failure: Exception | None) -> None:
        """Settle the outcome after the app's task has ended. The protocol lets an app without lifespan just raise."""
        if self.outcome.done():
            return
        if not self._reported and failure is not None:
            _log.info("the app takes no lifespan events: %r", failure)
        if not self._reported:
            self._succeed()
            return
        reason = f"{type(failure).__name__}: {failure}" if failure is not None else self._reported
        _log.error("start-up failed: %s", self._reported)
        error = StartupFailed(f"the app did not start: {reason}")
        error.__cause__ = failure
        self.outcome.set_exception(error)
        self.outcome.exception()  # counts as retrieved: where nobody waits, the log line has said it

    def _succeed(self) -> None:
        if not self.outcome.done():
            self.complete = True
            self.outcome.set_result(None)
