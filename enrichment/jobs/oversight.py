"""What operators do with jobs: look at them and at what was given up, run one anew, put an event back.

Nobody is shown a ticket or a result here: those are the subscription's.
"""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from enrichment.jobs.deadletters import JobDeadLetter, JobDeadLetters, place_of
from enrichment.jobs.endings import all_of
from enrichment.jobs.errors import JobDeadLetterNotFound, JobNotFound, JobRunning, JobSucceeded, StillNoJob
from enrichment.jobs.events import EventImpossible, JobEvents
from enrichment.jobs.job import Job, JobName, Status
from enrichment.jobs.observer import NO_OBSERVER, JobObserver
from enrichment.jobs.order import Order
from enrichment.jobs.queue import JobQueue
from enrichment.jobs.reminders import Reminders
from enrichment.jobs.runner import JobRules
from enrichment.jobs.store import JobStore
from seams.clock import Clock
from seams.events import ReceivedEvent
from seams.tables import TableConflict

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Page[T]:
    """`next` is what `after` is to be for the page that follows; None on the last one."""

    found: list[T]
    next: str | None


class Oversight:
    """Everything raises TableUnavailable."""

    def __init__(
        self,
        store: JobStore,
        reminders: Reminders,
        dead_letters: JobDeadLetters,
        queue: JobQueue,
        events: JobEvents,
        *,
        clock: Clock,
        rules: JobRules,
        observer: JobObserver = NO_OBSERVER,
    ) -> None:
        self._store = store
        self._reminders = reminders
        self._dead_letters = dead_letters
        self._queue = queue
        self._events = events
        self._clock = clock
        self._rules = rules
        self._observer = observer

    async def jobs(self, limit: int, after: str, status: Status | None = None) -> Page[Job]:
        """Return jobs of this status, or any, those that are looked at next first: long finished ones come last.

        Of `limit` jobs, so that a page may hold fewer and yet have a next one; a job may be on two pages.
        """
        reminders = await self._reminders.page(limit + 1, after)
        names = dict.fromkeys(each.name for each in reminders[:limit])
        found = await all_of([self._store.get(name) for name in names])
        jobs = [job for job in found if job is not None and status in (None, job.status)]
        return Page(jobs, reminders[limit - 1].row() if len(reminders) > limit else None)

    async def job(self, name: JobName) -> Job:
        """Raises JobNotFound."""
        found = await self._store.get(name)
        if found is None:
            raise JobNotFound(f"{name.subscription} has no job {name.id}, or no longer.")
        return found

    async def requeue(self, name: JobName, by: str, *, force: bool = False) -> Job:
        """Run a job anew, with all its tries; `force` also one that succeeded.

        Raises JobNotFound, JobRunning, JobSucceeded.
        """
        job, now = await self.job(name), self._clock.now()
        if job.held(now):
            raise JobRunning(f"It is being run until {job.lease_until:%Y-%m-%d %H:%M:%S} UTC or longer.")
        if job.status == "succeeded" and not force:
            raise JobSucceeded("It succeeded; force runs and charges it anew, and tells its callback again.")
        # As when it was made: what survives us is there before the job waits for it.
        await self._reminders.set(name, now + self._rules.lease)
        try:
            job = await self._store.change(job.renewed())
        except TableConflict as error:
            raise JobRunning("Somebody began to run it this very moment.") from error
        self._observer.job_queued()
        _log.info("job %s was requeued by %s", name.key(), by)
        await self._queue.hand_over(name, again=f"|{now:%H%M%S}")
        return job

    async def letters(self, limit: int, after: str, days: int, *, waiting: bool = False) -> Page[JobDeadLetter]:
        """Return `limit` dead letters of so many days, the latest day first, that come after the one of this id.

        `waiting`: only those of them that were never put back. Raises JobDeadLetterNotFound for what is no id.
        """
        place = place_of(after) if after else (f"{self._clock.now():%Y%m%d}", "")
        if place is None:
            raise JobDeadLetterNotFound(f"There is no dead letter {after[:60]!r} to go on after.")
        day, row = datetime.strptime(place[0], "%Y%m%d").replace(tzinfo=UTC), place[1]
        oldest = self._clock.now() - timedelta(days=days)
        read: list[JobDeadLetter] = []
        while day > oldest and len(read) <= limit:
            read += await self._dead_letters.of_day(day, row, limit + 1 - len(read))
            day, row = day - timedelta(days=1), ""
        found = [each for each in read[:limit] if not (waiting and each.requeued_at)]
        return Page(found, read[limit - 1].id if len(read) > limit else None)

    async def letter(self, letter: str) -> JobDeadLetter:
        """Raises JobDeadLetterNotFound."""
        found = await self._dead_letters.get(letter)
        if found is None:
            raise JobDeadLetterNotFound(f"There is no dead letter {letter[:60]!r}.")
        return found

    async def requeue_letter(self, letter: str, by: str, mended: bytes = b"", *, force: bool = False) -> JobDeadLetter:
        """Run a dead letter's job anew, or publish its event once more, or `mended` in its place.

        Raises JobDeadLetterNotFound, StillNoJob, StreamUnavailable, and what `requeue` raises.
        """
        found = await self.letter(letter)
        if found.job is not None:
            await self.requeue(found.job, by, force=force)
        else:
            await self._put_back(found, mended or found.body())
        _log.info("dead letter %s was requeued by %s", found.id, by)
        return await self._dead_letters.note_requeue(found, by, self._clock.now())

    async def _put_back(self, letter: JobDeadLetter, body: bytes) -> None:
        event = ReceivedEvent(body, letter.partition, letter.sequence_number or 0, self._clock.now())
        try:
            told = await self._events.read(event)
        except EventImpossible as error:
            raise StillNoJob(f"It would become a dead letter again: {error}. Send it mended, with its key.") from error
        name = told.name if isinstance(told, Order) else told
        await self._queue.put_back(body, name.key())
