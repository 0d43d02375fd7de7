"""A lease on a job that is kept while somebody is at work on it."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Final

from enrichment.jobs.job import Job
from enrichment.jobs.store import JobStore
from seams.clock import Clock
from seams.tables import TableConflict, TableUnavailable

_log: Final = logging.getLogger(__name__)


class LeaseLost(Exception):
    """Somebody else has taken the job over, or it is gone: what is being done for it is theirs to do."""


class Lease:
    """Made of a job that was claimed under a name that nobody else claims by; `job` is its row as last written."""

    def __init__(self, store: JobStore, clock: Clock, job: Job, length: timedelta) -> None:
        self.job = job
        self._store = store
        self._clock = clock
        self._length = length
        self._writing = asyncio.Lock()

    async def change(self, made: Callable[[Job], Job], result: bytes | None = None) -> Job:
        """Put what `made` returns in place of the job, with the result where there is one.

        Others may change the row without taking the job; their change is kept. Raises LeaseLost, TableUnavailable, and
        chunks.TooLarge for the result.
        """
        async with self._writing:
            while True:
                job = made(self.job)
                try:
                    if result is None:
                        self.job = await self._store.change(job)
                    else:
                        self.job = await self._store.finish(job, result)
                except TableConflict:
                    self.job = await self._reread()
                else:
                    return self.job

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Renew the lease every third of its length while the block runs.

        The block is cancelled and LeaseLost raised when the job is another's; at the lease's end, too, where the
        tables have not answered in all that time.
        """
        try:
            async with asyncio.timeout(None) as bound:
                renewing = asyncio.create_task(self._renew(bound), name=f"lease of job {self.job.name.id}")
                try:
                    yield
                finally:
                    renewing.cancel()
                    await asyncio.gather(renewing, return_exceptions=True)
        except TimeoutError:
            if bound.expired():
                raise LeaseLost(self.job.name.key()) from None
            raise

    async def _renew(self, bound: asyncio.Timeout) -> None:
        while await self._renewed():
            pass
        bound.reschedule(asyncio.get_running_loop().time())

    async def _renewed(self) -> bool:
        """Tell, after a third of the lease, whether the job is still ours."""
        await asyncio.sleep(self._length.total_seconds() / 3)
        until = self._clock.now() + self._length
        try:
            await self.change(lambda job: replace(job, lease_until=until))
        except LeaseLost:
            return False
        except TableUnavailable as error:
            _log.warning("job %s: the lease was not renewed: %s", self.job.name.key(), error)
            return self.job.held(self._clock.now())
        return True

    async def _reread(self) -> Job:
        found = await self._store.get(self.job.name)
        if found is None or found.status != "running" or found.owner != self.job.owner:
            raise LeaseLost(self.job.name.key())
        return found
