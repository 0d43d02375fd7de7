"""Limits across instances: each tells a shared row what it took, and learns from it what the others took.

No request touches storage. A task of this module's own tells the rows ahead of need, when half of a slice is used, and
brings leases for requests that need more than their instance may take on its own word. An instance is never further
ahead of the row than one slice, so all of them together exceed a limit by one slice each at most.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine
from typing import Final

from gateway.limits.periods import Calendar
from gateway.limits.telling import Charges, Group, Telling
from seams.clock import Clock
from seams.tables import Tables, TableUnavailable

TICK: Final = 0.25
NEAR_SECONDS: Final = 1.0
FAR_SECONDS: Final = 5.0
RENEW_SECONDS: Final = 20.0
"""Between tellings: with more than half of a limit used, with less, and of what is merely still held."""

EXCHANGE_SECONDS: Final = 2.0
"""For one telling, conflicts with other instances included; longer counts as an outage."""

LONGEST_PAUSE: Final = 30.0
AT_ONCE: Final = 8

logger = logging.getLogger(__name__)


class Sharing:
    """`instance` names this process among all that share the tables."""

    def __init__(
        self, tables: Tables, clock: Clock, charges: Charges, *, instance: str, random: Callable[[], float]
    ) -> None:
        self._clock = clock
        self._calendar = Calendar(clock)
        self._telling = Telling(tables, self._calendar, charges, instance, random)
        self._active: set[Group] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ticker: asyncio.Task[None] | None = None
        self._room = asyncio.Semaphore(AT_ONCE)
        self._failures = 0
        self._paused_until = -math.inf

    @property
    def reachable(self) -> bool:
        """Tell whether the latest telling succeeded; if not, each instance goes by what it has and saw."""
        return not self._failures

    def touch(self, group: Group) -> None:
        """Have the group told in due time."""
        self._active.add(group)
        if self._ticker is None:
            self._ticker = self._own(self._tick())

    async def ask(self, group: Group) -> None:
        """Wait until the rows were told and read once more, or could not be."""
        self.touch(group)
        answer = asyncio.get_running_loop().create_future()
        group.waiting.append(answer)
        self._tell_soon(group)
        try:
            async with asyncio.timeout(2 * EXCHANGE_SECONDS):
                await answer
        except TimeoutError:
            self._failed("the queue for it is too long")

    async def close(self) -> None:
        """Tell what is left to tell."""
        if self._ticker is not None:
            self._ticker.cancel()
        running = [group.task for group in self._active if group.task is not None]
        await asyncio.gather(*running, return_exceptions=True)
        for group in self._active:
            if self.reachable and any(allowance.touched for allowance in group.allowances.values()):
                await self._tell(group)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _own(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            now = self._clock.monotonic()
            if now >= self._paused_until:
                for group in [group for group in self._active if self._due(group, now)]:
                    self._tell_soon(group)

    def _due(self, group: Group, now: float) -> bool:
        allowances = group.allowances.values()
        if any(allowance.pressing() for allowance in allowances):
            return True
        touched = any(allowance.touched for allowance in allowances)
        if not touched and not any(allowance.holding() for allowance in allowances):
            self._active.discard(group)
            return False
        since = now - group.at
        if touched and since >= NEAR_SECONDS:
            moment = self._calendar.moment()
            return since >= FAR_SECONDS or any(allowance.near(moment) for allowance in allowances)
        return since >= RENEW_SECONDS

    def _tell_soon(self, group: Group) -> None:
        if group.task is None:
            group.task = self._own(self._tell_all(group))

    async def _tell_all(self, group: Group) -> None:
        try:
            asked = True
            while asked:
                asked = bool(group.waiting)
                await self._tell(group)
                # Those who waited for this take what they came for. A lease that they leave goes back at once.
                await asyncio.sleep(0)
                unused = asked and any(allowance.leasing() for allowance in group.allowances.values())
                asked = bool(group.waiting) or unused
        finally:
            group.task = None
            _answer(group.waiting)

    async def _tell(self, group: Group) -> None:
        async with self._room:
            waiting, group.waiting = group.waiting, []
            try:
                async with asyncio.timeout(EXCHANGE_SECONDS):
                    await self._telling.exchange(group)
            except (TimeoutError, TableUnavailable) as error:
                self._failed(str(error) or f"no answer within {EXCHANGE_SECONDS:g} seconds")
            except Exception:
                logger.exception("Telling the limits of %s failed", group.name)
                self._failed("an error of ours")
            else:
                self._succeeded()
            finally:
                group.at = self._clock.monotonic()
                _answer(waiting)

    def _failed(self, why: str) -> None:
        now = self._clock.monotonic()
        if now >= self._paused_until:
            if not self._failures:
                logger.warning("Limits are not shared between instances for now: %s", why)
            self._failures += 1
            self._paused_until = now + min(2.0**self._failures, LONGEST_PAUSE)

    def _succeeded(self) -> None:
        if self._failures:
            logger.warning("Limits are shared between instances again")
        self._failures = 0
        self._paused_until = -math.inf


def _answer(waiting: list[asyncio.Future[None]]) -> None:
    for each in waiting:
        if not each.done():
            each.set_result(None)
