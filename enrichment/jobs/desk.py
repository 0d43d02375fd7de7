"""Where orders become jobs, and where their owners ask for them."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from enrichment.jobs.callback import CallbackCheck
from enrichment.jobs.chunks import TooLarge
from enrichment.jobs.deliveries import shown
from enrichment.jobs.destinations import DestinationRefused
from enrichment.jobs.errors import CallbackRefused, NameTaken, OrderTooLarge
from enrichment.jobs.job import Job, JobName, id_of
from enrichment.jobs.made import unfinished
from enrichment.jobs.observer import NO_OBSERVER, JobObserver
from enrichment.jobs.order import Order
from enrichment.jobs.queue import JobQueue
from enrichment.jobs.reminders import Reminders
from enrichment.jobs.runner import JobRules
from enrichment.jobs.store import JobStore
from seams.clock import Clock
from seams.tables import TableConflict


@dataclass(frozen=True, slots=True)
class Kept:
    """`new` says that the job was made just now; else it is one that the same order made before."""

    job: Job
    new: bool


class JobDesk:
    """Everything raises TableUnavailable. `new_id` draws the id of a job that has no key."""

    def __init__(
        self,
        store: JobStore,
        reminders: Reminders,
        queue: JobQueue,
        callbacks: CallbackCheck,
        *,
        clock: Clock,
        new_id: Callable[[], str],
        rules: JobRules,
        observer: JobObserver = NO_OBSERVER,
    ) -> None:
        self._store = store
        self._reminders = reminders
        self._queue = queue
        self._callbacks = callbacks
        self._clock = clock
        self._new_id = new_id
        self._rules = rules
        self._observer = observer

    def name(self, route: str, subscription: str, key: str) -> JobName:
        """Return the name of the job that a request of a route makes: the same for the same key; without one, new."""
        return JobName(subscription, id_of(route, key) if key else self._new_id())

    async def keep(self, order: Order) -> Kept:
        """Make the job of an order, queued, and durable when this returns. Raises OrderRefused."""
        if order.callback is not None:
            try:
                self._callbacks.check(order.name.subscription, order.callback, order.sys_id)
            except DestinationRefused as error:
                raise CallbackRefused(str(error), param="callback") from error
        kept = await self.create(
            Job(order.name, order.digest, self._clock.now(), callback=order.callback_json), order.request
        )
        if kept.new:
            self._observer.job_queued()
        return kept

    async def create(self, job: Job, request: bytes) -> Kept:
        """Write a job with its reminder, or return the one that it would repeat. Raises OrderTooLarge, NameTaken."""
        await self._reminders.set(job.name, self._clock.now() + self._rules.lease)
        while True:
            try:
                return Kept(await self._store.create(job, request), new=True)
            except TooLarge as error:
                raise OrderTooLarge(f"What is kept of the request takes {error}.") from error
            except TableConflict:
                found = await self._found(job.name, job.digest)
            if found is not None:
                return found

    async def repeated(self, order: Order) -> Kept | None:
        """Return the job that an order made before; None where there is none. Raises NameTaken."""
        return await self._found(order.name, order.digest)

    async def submit(self, order: Order) -> Job:
        """Make the job of an order and hand it to the hub. Raises OrderRefused.

        An order that is repeated gives the job that it made; one that failed, wholly or in some tasks that another try
        may do, is queued again.
        """
        job = (await self.keep(order)).job
        if job.status == "failed" or (job.status == "succeeded" and await self._unfinished(job)):
            job = await self._again(job)
        await self.hand_over(job)
        return job

    async def hand_over(self, job: Job) -> None:
        """Hand a job to the hub where it waits for that; where the hub is out, its reminder does so later."""
        if job.status == "queued":
            await self._queue.hand_over(job.name)

    async def _found(self, name: JobName, digest: str) -> Kept | None:
        found = await self._store.get(name)
        if found is not None and found.digest != digest:
            raise NameTaken(
                "An earlier request had the same id or idempotency key, and another body. Without the header "
                "Idempotency-Key the key is sys_id, sys_updated_on and tasks: to ask anew, send one of your own."
            )
        return None if found is None else Kept(found, new=False)

    async def _unfinished(self, job: Job) -> bool:
        result = await self._store.result(job.name)
        return result is not None and unfinished(result) is not None

    async def _again(self, job: Job) -> Job:
        try:
            job = await self._store.change(job.renewed())
        except TableConflict:
            return await self._store.get(job.name) or job
        self._observer.job_queued()
        return job

    async def show(self, name: JobName) -> dict[str, Any] | None:
        """Return a job as its owner sees it; None where there is none."""
        job = await self._store.get(name)
        result = await self._store.result(name) if job is not None and job.status == "succeeded" else b"null"
        if job is None or result is None:
            return None
        told = shown(job, json.loads(result))
        if job.callback:
            delivery = job.delivery
            told["callback"] = {
                "status": "waiting" if delivery.status == "none" else delivery.status,
                "attempts": delivery.attempts,
                "error": delivery.error,
            }
        return told
