"""What is to be done for jobs although nobody is at it: the timer `sweep_jobs`.

Of each job whose reminder is due the row tells what that is: hand it to the hub again, deliver its callback, remove it.
Any number of sweeps may run at once, and one may die at any point: a reminder goes only when another one is set, or
when there is no job.
"""

import asyncio
import logging
from datetime import datetime, timedelta
from typing import Final

from enrichment.jobs.deliveries import Deliveries
from enrichment.jobs.endings import all_of
from enrichment.jobs.job import Job
from enrichment.jobs.queue import JobQueue
from enrichment.jobs.reminders import PARTITIONS, Reminder, Reminders
from enrichment.jobs.runner import JobRules
from enrichment.jobs.store import JobStore
from seams.clock import Clock
from seams.tables import TableConflict, TableUnavailable

AT_ONCE: Final = 32
SWEEP_SECONDS: Final = 50.0
LONGEST_SILENCE: Final = timedelta(hours=1)
"""A job that waits in the hub is handed over again after ever longer times, up to this."""

_log: Final = logging.getLogger(__name__)


class Sweep:
    def __init__(
        self,
        store: JobStore,
        reminders: Reminders,
        queue: JobQueue,
        deliveries: Deliveries,
        *,
        clock: Clock,
        rules: JobRules,
    ) -> None:
        self._store = store
        self._reminders = reminders
        self._queue = queue
        self._deliveries = deliveries
        self._clock = clock
        self._rules = rules

    async def run(self) -> int:
        """Attend to what is due, for at most 50 seconds, and return how many reminders that were.

        Raises TableUnavailable, after what was begun has ended.
        """
        slots = asyncio.Semaphore(AT_ONCE)
        end = self._clock.monotonic() + SWEEP_SECONDS
        return sum(await all_of([self._partition(partition, slots, end) for partition in range(PARTITIONS)]))

    async def _partition(self, partition: int, slots: asyncio.Semaphore, end: float) -> int:
        attending: list[asyncio.Task[None]] = []
        try:
            async for reminder in self._reminders.due(partition, self._clock.now()):
                await slots.acquire()
                if self._clock.monotonic() >= end:
                    slots.release()
                    break
                attending.append(asyncio.create_task(self._attend(reminder)))
                attending[-1].add_done_callback(lambda _: slots.release())
        finally:
            await all_of(attending)
        return len(attending)

    async def _attend(self, reminder: Reminder) -> None:
        try:
            next_due = await self._done(await self._store.get(reminder.name))
        except TableConflict:
            # Somebody was faster; what is left to do shows a moment later.
            next_due = self._clock.now() + timedelta(seconds=1)
        except TableUnavailable:
            raise
        except Exception:  # noqa: BLE001 - a row that somebody mangled must not keep the sweep from the others
            _log.exception("job %s cannot be attended to", reminder.name.key())
            next_due = self._clock.now() + LONGEST_SILENCE
        await self._moved(reminder, next_due)

    async def _moved(self, reminder: Reminder, next_due: datetime | None) -> None:
        if next_due is None:
            await self._reminders.drop(reminder)
        else:
            await self._reminders.move(reminder, next_due)

    async def _done(self, job: Job | None) -> datetime | None:
        """Do what is due for a job, and return when to look again; None where it is gone."""
        now = self._clock.now()
        if job is None:
            return None
        if job.finished:
            return await self._finished(job, now)
        if job.lease_until is not None and job.held(now):
            return job.lease_until
        if not job.promised:
            await self._store.remove(job)
            return None
        if job.not_before is not None and now < job.not_before:
            return job.not_before
        await self._queue.hand_over(job.name, again=f"|{now:%H%M%S}")
        return now + min(max(now - job.created_at, self._rules.lease), LONGEST_SILENCE)

    async def _finished(self, job: Job, now: datetime) -> datetime | None:
        told = await self._deliveries.attempt(job)
        if told.delivery.status == "pending" and told.delivery.due is not None:
            return told.delivery.due
        gone_at = (told.finished_at or now) + self._rules.kept
        if now < gone_at:
            return gone_at
        await self._store.remove(told)
        return None
