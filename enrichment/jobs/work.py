"""The work of a job: a ticket enriched as the subscription that it belongs to, and what becomes of failures."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

from pydantic import ValidationError

from enrichment.answers.answers import Enrichment, TaskError
from enrichment.caller import TicketCaller
from enrichment.enricher import Enricher
from enrichment.errors import EnrichmentError
from enrichment.jobs.job import Failure, JobName
from enrichment.jobs.made import Made, unfinished
from enrichment.requests.requests import EnrichRequest
from seams.tables import TableUnavailable

ENDING_SECONDS: Final = 10.0
"""Before the end of a job's time its tasks are told to stop, so that those that are done are not lost."""

_THROTTLED: Final = frozenset({"rate_limit_exceeded", "no_backend_available"})
"""Codes of task errors whose calls were not made at all: it was not their turn."""

PAUSES: Final = (2.0, 5.0, 10.0, 20.0, 40.0, 60.0)
"""Seconds before tasks that were throttled are tried again; limits are per minute."""

_log: Final = logging.getLogger(__name__)


class WorkRefused(Exception):
    """The work cannot be done, however often it is tried."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.failure = Failure.of(code, message)


class WorkFailed(Exception):
    """The work failed for a reason that may pass; `wait_seconds` is how long that takes at least, where it is known.

    `throttled` says that it was not done at all, because it is not its turn yet.
    """

    def __init__(self, code: str, message: str, wait_seconds: float = 0.0, *, throttled: bool = False) -> None:
        super().__init__(message)
        self.failure = Failure.of(code, message)
        self.wait_seconds = wait_seconds
        self.throttled = throttled


type Outcome = bytes | WorkRefused | WorkFailed
"""The result's JSON, or why there is none."""


class Work(Protocol):
    async def perform(self, name: JobName, request: bytes, done: bytes | None) -> Made:
        """Enrich what the request's JSON says, charged to the job's subscription; `done` is an earlier result.

        Raises WorkRefused, WorkFailed and EnrichmentError; everything else counts as a failure that may pass.
        """
        ...


class SubscriptionUnknown(Exception):
    """There is no subscription of this name, or no longer."""


class TicketCallers(Protocol):
    def named(self, subscription: str) -> AbstractAsyncContextManager[TicketCaller]:
        """Open the way to models of a subscription, of which no key is at hand.

        Entering raises SubscriptionUnknown, and TableUnavailable where that cannot be found out now.
        """
        ...


class Enriching:
    """Work by an Enricher; `seconds` bounds one try, `pauses` inside it are for tasks that were throttled."""

    def __init__(
        self, enricher: Enricher, callers: TicketCallers, seconds: float, pauses: Sequence[float] = PAUSES
    ) -> None:
        self._enricher = enricher
        self._callers = callers
        self._seconds = seconds - ENDING_SECONDS
        self._pauses = pauses

    async def perform(self, name: JobName, request: bytes, done: bytes | None) -> Made:
        try:
            # By the parser that it came in by: another one may take less.
            asked = EnrichRequest.model_validate(json.loads(request))
        except ValidationError as error:
            # It was valid when it came in: a later version asks for more.
            raise WorkRefused("invalid_request", f"{error.error_count()} fields are not what is taken.") from error
        try:
            async with self._callers.named(name.subscription) as caller:
                return Made.of(await self._enriched(caller, asked, unfinished(done) if done else None))
        except SubscriptionUnknown as error:
            raise WorkRefused("subscription_unknown", f"There is no subscription {name.subscription}.") from error

    async def _enriched(self, caller: TicketCaller, asked: EnrichRequest, done: Enrichment | None) -> Enrichment:
        """Enrich; where some tasks were throttled, wait and do just those again, as long as there is time."""
        time = asyncio.get_running_loop().time
        end = time() + self._seconds
        made = await self._enricher.enrich(caller, asked, seconds=self._seconds, done=done)
        for pause in self._pauses:
            waits = [error.retry_after or 0 for error in _errors(made) if error.code in _THROTTLED]
            wait = max(pause, *waits) if waits else 0
            if not waits or time() + wait >= end:
                break
            await asyncio.sleep(wait)
            made = await self._enricher.enrich(caller, asked, seconds=end - time(), done=made)
        return made


def _errors(made: Enrichment) -> list[TaskError]:
    return [outcome.error for outcome in made.tasks if outcome.error is not None]


async def made_by(work: Awaitable[Made], seconds: float) -> Outcome:
    """Return what came of the work within so many seconds. Raises TableUnavailable."""
    try:
        async with asyncio.timeout(seconds):
            made = await work
    except (WorkRefused, WorkFailed) as failed:
        return failed
    except EnrichmentError as error:
        return _judged(error)
    except TableUnavailable:
        raise
    except TimeoutError:
        return WorkFailed("timeout", f"The work took longer than {seconds:g} s.")
    except Exception:  # noqa: BLE001 - a defect is a failed try, and the log has it
        _log.exception("the work of a job failed")
        return WorkFailed("internal_error", "Tollgate failed; its log says why.")
    if made.lasting:
        return made.result
    return WorkFailed("tasks_failed", "No task could be done.")


def _judged(error: EnrichmentError) -> WorkRefused | WorkFailed:
    code = error.code or "failed"
    if error.status >= 500 or error.status in (408, 429):
        return WorkFailed(code, error.message, error.retry_after or 0, throttled=error.status == 429)
    return WorkRefused(code, error.message)
