"""An answer that is given once: what is asked again under the same key, with the same body, costs nothing.

A request with a key makes a job of it before the work begins, held by this process, and nobody else is told of it. So
whoever asks the same meanwhile finds it and waits; whoever asks later finds its result; and where the work takes longer
than a caller waits, the job is promised to the caller, and the same work goes on behind the answer. Where the process
dies instead, a promised job is taken over by another one, an unpromised one is forgotten: its caller has an error, and
asks again.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any, Final

from enrichment.answers.answers import Enrichment
from enrichment.jobs.chunks import TooLarge
from enrichment.jobs.desk import JobDesk
from enrichment.jobs.errors import StillRunning
from enrichment.jobs.job import Job, JobName, Status
from enrichment.jobs.lease import Lease, LeaseLost
from enrichment.jobs.made import Made, unfinished
from enrichment.jobs.order import Order
from enrichment.jobs.runner import Runner
from enrichment.jobs.store import JobStore
from seams.clock import Clock
from seams.tables import TableConflict, TableError, TableUnavailable

WAIT_SECONDS: Final = 25.0
"""ServiceNow waits for 30."""

_FIRST_LOOK_SECONDS: Final = 0.1
_LONGEST_LOOK_SECONDS: Final = 1.0
_MARGIN: Final = timedelta(seconds=10)

_log: Final = logging.getLogger(__name__)

type Perform = Callable[[Enrichment | None], Coroutine[Any, Any, Made]]
"""Work that goes on where an earlier try left tasks undone."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The result's JSON; `repeated` says that it was found and not made."""

    result: bytes
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Promised:
    """A job that the caller may ask for. `rest` is what is left to do here once the caller has been told."""

    name: JobName
    status: Status = "running"
    rest: Callable[[], Coroutine[Any, Any, None]] | None = None


class Once:
    """Everything raises TableUnavailable, OrderRefused, and what the work raises.

    `wait` is the seconds that a caller waits. Without `goes_on` nothing can be done here once the caller has been told:
    then the work of a promised job begins anew where jobs are run.
    """

    def __init__(
        self,
        store: JobStore,
        desk: JobDesk,
        runner: Runner,
        *,
        clock: Clock,
        owner: Callable[[], str],
        wait: float = WAIT_SECONDS,
        goes_on: bool = True,
    ) -> None:
        self.wait = wait
        self._store = store
        self._desk = desk
        self._runner = runner
        self._clock = clock
        self._owner = owner
        self._goes_on = goes_on

    async def answer(self, order: Order, perform: Perform) -> Answered | Promised:
        """Return what `perform` makes in time, or a job in which it goes on; nothing is written before that."""
        working = asyncio.create_task(perform(None), name=f"enrich {order.name.id}")
        lease: Lease | None = None
        try:
            made = await self._in_time(working, self.wait)
            if made is not None:
                return Answered(made.result)
            kept = await self._desk.create(self._held(order, promised=False), order.request)
            lease = self._runner.lease(kept.job)
            return await self._promised(lease, working)
        except BaseException:
            await self._dropped(lease, working)
            raise

    async def answer_keyed(self, order: Order, perform: Perform, *, may_promise: bool) -> Answered | Promised:
        """Return the answer to this order, however often it comes and however many ask at once.

        Where tasks of an earlier answer failed for a reason that may pass, what failed is done anew, once for all who
        ask at once.
        `may_promise` says that a job will do where the answer takes too long; else StillRunning is raised to those who
        wait for somebody else's work, and `perform` keeps to the time by itself.
        """
        end = self._clock.monotonic() + self.wait
        pause, looked, done = _FIRST_LOOK_SECONDS, False, None
        while True:
            kept = await self._desk.repeated(order) or await self._desk.create(
                self._held(order, promised=False), order.request
            )
            if kept.new:
                # Who has waited for another one's work before has only the rest of his time left.
                left = max(0.0, end - self._clock.monotonic()) if may_promise else None
                return await self._first(self._runner.lease(kept.job), perform(done), left)
            if kept.job.status == "succeeded" and (result := await self._store.result(order.name)) is not None:
                done = None if looked else unfinished(result)
                if done is None:
                    return Answered(result, repeated=True)
            looked = True
            if kept.job.status == "succeeded" or self._abandoned(kept.job):
                await self._forget(kept.job)
                continue
            left = end - self._clock.monotonic()
            if left <= 0:
                return await self._promise(kept.job, may_promise=may_promise)
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 2, _LONGEST_LOOK_SECONDS)

    async def _first(self, lease: Lease, work: Coroutine[Any, Any, Made], seconds: float | None) -> Answered | Promised:
        """Do the work; where it takes more than `seconds`, promise the rest. None: it keeps to the time by itself."""
        working = asyncio.create_task(work, name=f"enrich {lease.job.name.id}")
        try:
            made = await working if seconds is None else await self._in_time(working, seconds)
            if made is None:
                return await self._promised(lease, working)
        except BaseException:
            await self._dropped(lease, working)
            raise
        await self._remember(lease, made)
        return Answered(made.result)

    async def _promised(self, lease: Lease, working: "asyncio.Task[Made]") -> Promised:
        if not self._goes_on:
            await _cancelled(working)
            job = await lease.change(lambda job: job.renewed())
            await self._desk.hand_over(job)
            return Promised(job.name, job.status)
        until = self._clock.now() + self._runner.rules.lease
        await lease.change(lambda job: replace(job, promised=True, lease_until=until))
        return Promised(lease.job.name, rest=partial(self._rest, lease, working))

    async def _dropped(self, lease: Lease | None, working: "asyncio.Task[Made]") -> None:
        """End work that nobody waits for any more."""
        await _cancelled(working)
        if lease is not None:
            await self._forget(lease.job)

    async def _remember(self, lease: Lease, made: Made) -> None:
        now = self._clock.now()
        try:
            if not made.lasting:
                await self._forget(lease.job)
                return
            await lease.change(lambda job: job.ended(now, None), made.result)
        except TooLarge:
            await self._forget(lease.job)
        except LeaseLost:
            return
        except TableUnavailable as error:
            # The answer is made and paid, and its caller shall have it; only who asks again pays again.
            _log.warning("the answer under a key of %s is not kept: %s", lease.job.name.subscription, error)

    async def _rest(self, lease: Lease, working: "asyncio.Task[Made]") -> None:
        """Go on with the work of a job that was promised, and write down what comes of it."""
        try:
            await self._runner.finish(lease, working)
        except LeaseLost:
            return
        finally:
            await _cancelled(working)

    async def _in_time(self, working: "asyncio.Task[Made]", seconds: float) -> Made | None:
        done, _ = await asyncio.wait((working,), timeout=seconds)
        return working.result() if done else None

    async def _promise(self, job: Job, *, may_promise: bool) -> Promised:
        if not may_promise:
            raise StillRunning("The same request is being answered at this moment.")
        if not job.promised:
            try:
                await self._store.change(replace(job, promised=True))
            except TableConflict as error:
                # It was finished, or dropped, this very moment.
                raise StillRunning("The same request is being answered at this moment.") from error
        return Promised(job.name, job.status)

    def _held(self, order: Order, *, promised: bool) -> Job:
        now = self._clock.now()
        # Long enough for all the time that the caller waits: it is renewed only once the job has been promised.
        lease = max(self._runner.rules.lease, timedelta(seconds=self.wait) + _MARGIN)
        return replace(Job(order.name, order.digest, now).claimed(self._owner(), now, lease), promised=promised)

    def _abandoned(self, job: Job) -> bool:
        return job.status == "failed" or (not job.promised and not job.held(self._clock.now()))

    async def _forget(self, job: Job) -> None:
        try:
            await self._store.remove(job)
        except TableError as error:
            # Somebody else has it, or the sweep will find it: nobody was told of it.
            _log.info("job %s is left to the sweep: %s", job.name.key(), error)


async def _cancelled(working: "asyncio.Task[Made]") -> None:
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
