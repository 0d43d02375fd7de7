"""Running a job: claim it, do its work under a lease, write down what came of it, tell the callback."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from enrichment.jobs.chunks import TooLarge
from enrichment.jobs.deadletters import JobDeadLetters
from enrichment.jobs.deliveries import Deliveries
from enrichment.jobs.job import Failure, Job, JobName
from enrichment.jobs.lease import Lease, LeaseLost
from enrichment.jobs.made import Made, Waiting
from enrichment.jobs.observer import NO_OBSERVER, JobObserver
from enrichment.jobs.reminders import Reminders
from enrichment.jobs.store import JobStore, Opened
from enrichment.jobs.work import Outcome, Work, WorkFailed, WorkRefused, made_by
from seams.clock import Clock
from seams.tables import TableConflict

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class JobRules:
    """`lease` is how long a job stays its holder's after his death; `work_seconds` bounds one try of its work.

    A failure that may pass is tried again after `pause`, fourfold each time, `attempts` times in all; what is throttled
    waits for its turn until it is older than `patience`. A finished job is kept for `kept`.
    """

    lease: timedelta = timedelta(seconds=60)
    work_seconds: float = 300.0
    attempts: int = 4
    pause: timedelta = timedelta(seconds=10)
    patience: timedelta = timedelta(hours=24)
    kept: timedelta = timedelta(days=7)


class Runner:
    """`owner` draws the name that a claim is made under; `random` returns 0 to 1 and keeps those who wait apart."""

    def __init__(
        self,
        store: JobStore,
        reminders: Reminders,
        dead_letters: JobDeadLetters,
        *,
        work: Work,
        deliveries: Deliveries,
        clock: Clock,
        owner: Callable[[], str],
        random: Callable[[], float],
        rules: JobRules = JobRules(),
        observer: JobObserver = NO_OBSERVER,
    ) -> None:
        self.rules = rules
        self._store = store
        self._reminders = reminders
        self._dead_letters = dead_letters
        self._work = work
        self._deliveries = deliveries
        self._clock = clock
        self._owner = owner
        self._random = random
        self._observer = observer

    async def run(self, name: JobName) -> None:
        """Run a job where nobody else does or has; what is finished, held or not due yet is left as it is.

        Raises TableUnavailable; the job's lease then runs out, and it is taken over.
        """
        opened = await self._store.opened(name)
        if opened is not None:
            await self.start(opened)

    async def start(self, opened: Opened) -> None:
        """Run a job as it was read, or made; see `run`."""
        found = opened.job
        if not found.promised or not found.ready(self._clock.now()):
            return
        try:
            job = await self._store.change(found.claimed(self._owner(), self._clock.now(), self.rules.lease))
        except TableConflict:
            return
        lease = self.lease(job)
        try:
            if job.attempts <= self.rules.attempts:
                await self.finish(lease, self._work.perform(job.name, opened.request, opened.result))
            else:
                # Whoever ran it last died of it, or with it.
                died = Failure.of("attempts_exhausted", "Whatever ran the job died, each time.")
                await self._fail(lease, found.failure or died)
        except LeaseLost:
            _log.warning("job %s was taken over; what was done here is dropped", job.name.key())

    def lease(self, job: Job) -> Lease:
        return Lease(self._store, self._clock, job, self.rules.lease)

    async def finish(self, lease: Lease, work: Awaitable[Made]) -> None:
        """Wait for a job's work under its lease, write down what came of it, make the first attempt at its callback.

        Raises TableUnavailable, LeaseLost.
        """
        self._observer.job_started()
        try:
            async with lease.kept():
                outcome = await made_by(work, self.rules.work_seconds)
            await self._settle(lease, outcome)
        finally:
            self._observer.job_left()

    async def _settle(self, lease: Lease, outcome: Outcome) -> None:
        match outcome:
            case Made(waiting=Waiting() as waiting) if waiting.further or lease.job.attempts < self.rules.attempts:
                await self._go_on_later(lease, outcome.result, waiting)
            case Made():
                await self._succeed(lease, outcome.result)
            case WorkFailed() if outcome.throttled and self._clock.now() < lease.job.created_at + self.rules.patience:
                await self._wait(lease, outcome)
            case WorkFailed() if lease.job.attempts < self.rules.attempts:
                await self._try_again(lease, outcome)
            case WorkRefused() | WorkFailed():
                await self._fail(lease, outcome.failure)

    async def _wait(self, lease: Lease, failed: WorkFailed) -> None:
        """Let a job wait for its turn, which counts as no try."""
        pause = max(self.rules.pause, timedelta(seconds=failed.wait_seconds)) * (1 + self._random())
        await self._requeue(lease, self._clock.now() + pause, failed.failure, tries=lease.job.attempts - 1)

    async def _go_on_later(self, lease: Lease, result: bytes, waiting: Waiting) -> None:
        """Keep what is done of a job, and let the rest wait for its turn; a try is what brought nothing further."""
        pause = max(self.rules.pause, timedelta(seconds=waiting.seconds)) * (1 + self._random())
        tries = lease.job.attempts - waiting.further
        try:
            await self._requeue(lease, self._clock.now() + pause, waiting.failure, tries=tries, result=result)
        except TooLarge:
            await self._succeed(lease, result)

    async def _try_again(self, lease: Lease, failed: WorkFailed) -> None:
        pause = max(self.rules.pause * 4 ** (lease.job.attempts - 1), timedelta(seconds=failed.wait_seconds))
        await self._requeue(lease, self._clock.now() + pause, failed.failure, tries=lease.job.attempts)

    async def _requeue(
        self, lease: Lease, at: datetime, failure: Failure, *, tries: int, result: bytes | None = None
    ) -> None:
        job = await lease.change(lambda job: replace(job.requeued(at, failure), attempts=tries), result)
        await self._reminders.set(job.name, at)
        self._observer.job_queued()

    async def _succeed(self, lease: Lease, result: bytes) -> None:
        now = self._clock.now()
        try:
            job = await lease.change(lambda job: job.ended(now, None), result)
        except TooLarge as error:
            await self._fail(lease, Failure.of("result_too_large", f"The result takes {error}."))
        else:
            self._observer.job_ended(succeeded=True)
            await self._tell(job)

    async def _fail(self, lease: Lease, failure: Failure) -> None:
        """Give a job up. The dead letter comes first: a job that is finished is not looked at again."""
        now = self._clock.now()
        await self._dead_letters.add_job(lease.job, f"{failure.code}: {failure.message}", now)
        job = await lease.change(lambda job: job.ended(now, failure))
        self._observer.job_ended(succeeded=False)
        await self._tell(job)

    async def _tell(self, job: Job) -> None:
        """Make the callback's first attempt. The reminder that every job has comes back to what is left to do."""
        told = await self._deliveries.attempt(job)
        if told.delivery.status == "pending" and told.delivery.due is not None:
            await self._reminders.set(job.name, told.delivery.due)
