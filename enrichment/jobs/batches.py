"""Batches of the hub `jobs`, one partition at a time: the function `run_jobs`."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from enrichment.jobs.deadletters import JobDeadLetters
from enrichment.jobs.desk import JobDesk
from enrichment.jobs.endings import all_of
from enrichment.jobs.errors import OrderRefused
from enrichment.jobs.events import EventImpossible, JobEvents
from enrichment.jobs.job import Job, JobName
from enrichment.jobs.order import Order
from enrichment.jobs.runner import Runner
from enrichment.jobs.store import Opened
from seams.clock import Clock
from seams.events import ReceivedEvent
from seams.tables import TableUnavailable

INTAKE_AT_ONCE: Final = 16
"""Events of a process that are being made jobs."""

BATCH_SECONDS: Final = 600.0
"""No job of a batch is begun after it: the host ends a function after its `functionTimeout`, half an hour."""

_log: Final = logging.getLogger(__name__)


class JobBatches:
    """`at_once` bounds the jobs that this process runs at a time, whatever the number of partitions."""

    def __init__(
        self,
        events: JobEvents,
        desk: JobDesk,
        runner: Runner,
        dead_letters: JobDeadLetters,
        *,
        clock: Clock,
        at_once: int,
    ) -> None:
        self._events = events
        self._desk = desk
        self._runner = runner
        self._dead_letters = dead_letters
        self._clock = clock
        self._slots = asyncio.Semaphore(at_once)
        self._intake = asyncio.Semaphore(INTAKE_AT_ONCE)

    async def run(self, batch: Sequence[ReceivedEvent]) -> None:
        """Make the jobs of a batch that do not exist yet, and run those that nobody else does.

        A job whose work fails is no failure of the batch: it waits in its row. Raises TableUnavailable, after all the
        others have ended; the batch may then come again.
        """
        end = self._clock.monotonic() + BATCH_SECONDS
        taken = [each for each in await all_of([self._taken(event) for event in batch]) if each is not None]
        # One that was made just now comes last of its name, and stays: it need not be read again.
        distinct = {each.name: each for each in sorted(taken, key=lambda each: each.made is not None)}
        await all_of([self._run(each, end) for each in distinct.values()])

    async def _taken(self, event: ReceivedEvent) -> "_Taken | None":
        async with self._intake:
            try:
                told = await self._events.read(event)
                if not isinstance(told, Order):
                    return _Taken(told)
                kept = await self._desk.keep(told)
            except (EventImpossible, OrderRefused) as error:
                await self._put_aside(event, str(error))
                return None
            except TableUnavailable:
                raise
            except Exception:  # noqa: BLE001 - whatever an event does to us, the others must not wait for it
                _log.exception("event %d of partition %s", event.sequence_number, event.partition)
                await self._put_aside(event, "Tollgate failed; its log says why.")
                return None
            return _Taken(told.name, kept.job if kept.new else None, told.request)

    async def _run(self, taken: "_Taken", end: float) -> None:
        async with self._slots:
            if self._clock.monotonic() >= end:
                return  # its reminder hands it over again
            try:
                if taken.made is None:
                    await self._runner.run(taken.name)
                else:
                    await self._runner.start(Opened(taken.made, taken.request))
            except TableUnavailable:
                raise
            except Exception:  # noqa: BLE001 - as above; the job's reminder comes back to it
                _log.exception("job %s cannot be run", taken.name.key())

    async def _put_aside(self, event: ReceivedEvent, reason: str) -> None:
        _log.warning("event %d of partition %s is no job: %s", event.sequence_number, event.partition, reason)
        await self._dead_letters.add_event(event, reason)


@dataclass(frozen=True, slots=True)
class _Taken:
    """A job of a batch; `made` where the batch has made it, of this request."""

    name: JobName
    made: Job | None = None
    request: bytes = b""
