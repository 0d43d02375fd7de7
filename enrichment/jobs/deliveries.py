"""Telling a callback what came of a job: at least once, with the job's id each time, for about a day.

A message is signed: `x-tollgate-signature: t=SECONDS,v1=HEX`, where HEX is the HMAC-SHA256 of `SECONDS.BODY` under the
setting CALLBACK_SIGNING_KEY and SECONDS the time in Unix seconds, so that a receiver can refuse what is old.

An attempt takes the delivery for a while, under the row's ETag; so two that are due at once do not both send, and one
whose process died is due again. What the row says after it is the next attempt's time, or the end.
"""

import hashlib
import hmac
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

from enrichment.jobs import work_notes
from enrichment.jobs.callback import WORK_NOTES, Callback
from enrichment.jobs.credentials import Credentials
from enrichment.jobs.destinations import DestinationRefused, Destinations
from enrichment.jobs.job import LONGEST_MESSAGE, Delivery, Job
from enrichment.jobs.observer import NO_OBSERVER, JobObserver, Told
from enrichment.jobs.outbound import AddressForbidden, Answer, Outbound, OutboundError, Request
from enrichment.jobs.store import JobStore
from seams.clock import Clock
from seams.tables import TableConflict, TableError

SIGNATURE: Final = "x-tollgate-signature"
JOB: Final = "x-tollgate-job"

_PASSING: Final = frozenset({401, 403, 408, 425, 429})
"""Statuses below 500 that another attempt may change: credentials are mended, too."""

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DeliveryRules:
    """`held` is how long an attempt keeps others away. Pauses grow from `first_pause` fourfold to `longest_pause`."""

    held: timedelta = timedelta(minutes=2)
    first_pause: timedelta = timedelta(seconds=5)
    longest_pause: timedelta = timedelta(hours=4)
    attempts: int = 12


class _Failed(Exception):
    """An attempt that failed; `final` says that another would fail as well."""

    def __init__(self, message: str, *, final: bool, wait: timedelta = timedelta()) -> None:
        super().__init__(message)
        self.final = final
        self.wait = wait


class Deliveries:
    """`signing_key` is empty where messages are not signed; `random` returns 0 to 1 and stretches the pauses."""

    def __init__(
        self,
        store: JobStore,
        destinations: Destinations,
        credentials: Credentials,
        outbound: Outbound,
        *,
        signing_key: str,
        clock: Clock,
        random: Callable[[], float],
        rules: DeliveryRules = DeliveryRules(),
        observer: JobObserver = NO_OBSERVER,
    ) -> None:
        self._store = store
        self._destinations = destinations
        self._credentials = credentials
        self._outbound = outbound
        self._signing_key = signing_key.encode()
        self._clock = clock
        self._random = random
        self._rules = rules
        self._observer = observer

    async def attempt(self, job: Job) -> Job:
        """Make the attempt that is due and return the job as it is after it. Raises TableUnavailable.

        A job that somebody else has changed is left to them.
        """
        now = self._clock.now()
        if job.delivery.status != "pending" or (job.delivery.due and now < job.delivery.due):
            return job
        taken = replace(job.delivery, attempts=job.delivery.attempts + 1, due=now + self._rules.held)
        try:
            job = await self._store.change(replace(job, delivery=taken))
        except TableConflict:
            return job
        outcome = await self._outcome(job)
        told: Told = "again" if outcome.status == "pending" else "failed" if outcome.status == "failed" else "delivered"
        self._observer.callback_attempted(told)
        try:
            return await self._store.change(replace(job, delivery=outcome))
        except TableConflict:
            # It took longer than it may: another attempt has begun, and its outcome counts.
            return job

    async def _outcome(self, job: Job) -> Delivery:
        taken = job.delivery
        try:
            await self._deliver(job)
        except _Failed as failed:
            final = failed.final or taken.attempts >= self._rules.attempts
            _log.warning("job %s: callback, attempt %d: %s", job.name.key(), taken.attempts, failed)
            due = None if final else self._clock.now() + max(failed.wait, self._pause(taken.attempts))
            return Delivery("failed" if final else "pending", taken.attempts, due, str(failed)[:LONGEST_MESSAGE])
        except TableError:
            raise
        except Exception:  # noqa: BLE001 - a mangled row must not hold up whoever delivers the others
            _log.exception("job %s: the callback cannot be delivered", job.name.key())
            return Delivery("failed", taken.attempts, error="Tollgate failed; its log says why.")
        return Delivery("delivered", taken.attempts)

    def _pause(self, attempts: int) -> timedelta:
        pause: timedelta = min(self._rules.first_pause * 4 ** min(attempts - 1, 20), self._rules.longest_pause)
        return pause * (1 + self._random() / 4)

    async def _deliver(self, job: Job) -> None:
        callback = Callback.model_validate_json(job.callback)
        try:
            place = self._destinations.check(callback.url)
            headers = await self._credentials.headers(job.name.subscription, callback.auth, place)
            result = json.loads(await self._store.result(job.name) or b"null") if job.status == "succeeded" else None
            if callback.kind == WORK_NOTES:
                if result is None:
                    raise _Failed("nothing to note: the job failed", final=True)
                await self._write_note(job, callback, headers, result, loopback=place.loopback)
            else:
                body = json.dumps(shown(job, result)).encode()
                sent = {"content-type": "application/json", JOB: job.name.id, **headers, **self._signed(body)}
                request = Request("POST", callback.url, sent, body, loopback=place.loopback)
                self._check(callback, await self._outbound.send(request))
        except DestinationRefused as refused:
            # The operator's lists were changed, or a setting is missing: both may be mended.
            raise _Failed(str(refused), final=False) from refused
        except OutboundError as error:
            raise _Failed(str(error), final=isinstance(error, AddressForbidden)) from error

    async def _write_note(
        self, job: Job, callback: Callback, headers: Mapping[str, str], result: Mapping[str, Any], *, loopback: bool
    ) -> None:
        url = f"{callback.url.rstrip('/')}/{result['sys_id']}"
        if job.delivery.attempts > 1:
            read = replace(work_notes.read_request(url, headers), loopback=loopback)
            if work_notes.holds(await self._outbound.send(read), job.name.id):
                return
        patch = work_notes.patch_request(url, headers, job.name.id, result, apply_patch=callback.apply_patch)
        self._check(callback, await self._outbound.send(replace(patch, loopback=loopback)))

    def _signed(self, body: bytes) -> Mapping[str, str]:
        if not self._signing_key:
            return {}
        seconds = int(self._clock.now().timestamp())
        return {SIGNATURE: f"t={seconds},v1={signature(self._signing_key, seconds, body)}"}

    def _check(self, callback: Callback, answer: Answer) -> None:
        if 200 <= answer.status < 300:
            return
        if answer.status == 401:
            self._credentials.forget(callback.auth)
        passing = answer.status >= 500 or answer.status in _PASSING
        told = " and redirects are not followed" if 300 <= answer.status < 400 else ""
        wait = _wait(answer.headers.get("retry-after", ""), self._clock.now(), self._rules.longest_pause)
        raise _Failed(f"the callback's host answered {answer.status}{told}", final=not passing, wait=wait)


def signature(key: bytes, seconds: int, body: bytes) -> str:
    """Return the HMAC-SHA256 in hexadecimal digits of `SECONDS.BODY`."""
    return hmac.new(key, b"%d.%b" % (seconds, body), hashlib.sha256).hexdigest()


def shown(job: Job, result: object) -> dict[str, Any]:
    """Return the job as GET /jobs/{id} and a callback tell it: id, status, result, error, and how the callback goes."""
    told: dict[str, Any] = {"id": job.name.id, "status": job.status}
    if job.status == "succeeded":
        told["result"] = result
    if job.status == "failed" and job.failure:
        told["error"] = {"code": job.failure.code, "message": job.failure.message}
    return told


def _wait(retry_after: str, now: datetime, longest: timedelta) -> timedelta:
    """Return what a Retry-After header asks for, in bounds; RFC 9110, 10.2.3: seconds or a date."""
    try:
        if retry_after.isdecimal():
            wait = timedelta(seconds=min(int(retry_after), longest.total_seconds()))
        else:
            wait = parsedate_to_datetime(retry_after) - now
    except (ValueError, TypeError):
        return timedelta()
    return min(max(wait, timedelta()), longest)
