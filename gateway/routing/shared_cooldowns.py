"""Cooldowns that instances tell each other, so that a new one does not knock on a backend that is throttled.

One small row per deployment of a backend. Rows are written and read by tasks of our own, never on a request's path: at
the start, and then at most every few seconds while there is traffic. Without storage each instance goes by what it saw.
"""

import asyncio
import logging
from collections.abc import Coroutine
from datetime import datetime, timedelta
from urllib.parse import quote

from gateway.catalog.catalog import Member
from gateway.routing.cooldown import LONGEST
from gateway.routing.pool import Pool
from seams.clock import Clock
from seams.tables import Entity, TableError, Tables, Upsert, Value

TABLE = "cooldowns"
PARTITION = "cooldowns"
READ_EVERY = 5.0
SHORTEST = 2.0
"""Seconds; a shorter cooldown is over before another instance has read of it."""

STORAGE_SECONDS = 5.0

logger = logging.getLogger(__name__)


class SharedCooldowns:
    def __init__(self, tables: Tables, pool: Pool, clock: Clock) -> None:
        self._tables = tables
        self._pool = pool
        self._clock = clock
        self._next_read = float("-inf")
        self._announced: dict[tuple[str, str], datetime] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def announce(self, member: Member, seconds: float) -> None:
        """Tell the other instances that a member is to be left alone for `seconds`; returns at once."""
        key = (member.backend.name, member.deployment)
        until = self._clock.now() + timedelta(seconds=seconds)
        known = self._announced.get(key)
        if seconds < SHORTEST or (known is not None and until - known < timedelta(seconds=1)):
            return
        self._announced[key] = until
        self._own(self._write(key, until))

    def refresh(self) -> None:
        """Read what the others announced, where that was not done just now; returns at once."""
        now = self._clock.monotonic()
        if now >= self._next_read:
            self._next_read = now + READ_EVERY
            self._own(self.read())

    async def read(self) -> None:
        """Take over what the others announced; storage that does not answer changes nothing."""
        try:
            async with asyncio.timeout(STORAGE_SECONDS):
                table = await self._tables.table(TABLE)
                async for entity in table.query(PARTITION):
                    self._take_over(entity)
        except (TableError, TimeoutError) as error:
            logger.warning("Cooldowns of other instances could not be read: %s", error)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _take_over(self, entity: Entity) -> None:
        until = entity.values["until"]
        if isinstance(until, datetime):
            seconds = (until - self._clock.now()).total_seconds()
            if seconds > 0:
                backend, deployment = str(entity.values["backend"]), str(entity.values["deployment"])
                self._pool.told(backend, deployment, min(seconds, LONGEST), self._clock.monotonic())

    async def _write(self, key: tuple[str, str], until: datetime) -> None:
        backend, deployment = key
        row = quote(f"{backend}|{deployment}", safe="|").replace("%", "=")
        columns: dict[str, Value] = {"backend": backend, "deployment": deployment, "until": until}
        try:
            async with asyncio.timeout(STORAGE_SECONDS):
                table = await self._tables.table(TABLE)
                await table.transact([Upsert(Entity(PARTITION, row, columns))])
        except (TableError, TimeoutError) as error:
            logger.warning("A cooldown of %s was not told to other instances: %s", backend, error)

    def _own(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
