"""Batches of the hub `jobs`, one partition at a time: the function `run_jobs`."""

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import Final

from enrichment.jobs.deadletters import JobDeadLetters
from enrichment.jobs.desk import JobDesk
from enrichment.jobs.errors import OrderRefused
from enrichment.jobs.events import EventImpossible, JobEvents
from enrichment.jobs.job import JobName
from enrichment.jobs.order import Order
from enrichment.jobs.runner import Runner
from seams.clock import Clock
from seams.events import ReceivedEvent

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
        names = await _all([self._name(event) for event in batch])
        distinct = dict.fromkeys(name for name in names if name is not None)
        await _all([self._run(name, end) for name in distinct])

    async def _name(self, event: ReceivedEvent) -> JobName | None:
        async with self._intake:
            try:
                told = await self._events.read(event)
                if isinstance(told, Order):
                    await self._desk.keep(told)
                    return told.name
            except (EventImpossible, OrderRefused) as error:
                _log.warning("event %d of partition %s is no job: %s", event.sequence_number, event.partition, error)
                await self._dead_letters.add_event(event, str(error))
                return None
            return told

    async def _run(self, name: JobName, end: float) -> None:
        async with self._slots:
            if self._clock.monotonic() < end:
                await self._runner.run(name)
            # Else its reminder hands it over again.


async def _all[T](calls: Sequence[Coroutine[None, None, T]]) -> list[T]:
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]
