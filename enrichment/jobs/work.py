"""The work of a job: a ticket enriched as the subscription that it belongs to, and what becomes of failures."""

import asyncio
import json
import logging
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

from pydantic import ValidationError

from enrichment.caller import TicketCaller
from enrichment.enricher import Enricher
from enrichment.errors import EnrichmentError
from enrichment.jobs.job import Failure, JobName
from enrichment.jobs.made import Made, unfinished
from enrichment.requests.requests import EnrichRequest
from seams.tables import TableUnavailable

ENDING_SECONDS: Final = 10.0
"""Before the end of a job's time its tasks are told to stop, so that those that are done are not lost."""

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


type Outcome = Made | WorkRefused | WorkFailed
"""A result, or why there is none."""


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
    """Work by an Enricher; `seconds` bounds one try."""

    def __init__(self, enricher: Enricher, callers: TicketCallers, seconds: float) -> None:
        self._enricher = enricher
        self._callers = callers
        self._seconds = seconds - ENDING_SECONDS

    async def perform(self, name: JobName, request: bytes, done: bytes | None) -> Made:
        try:
            # By the parser that it came in by: another one may take less.
            asked = EnrichRequest.model_validate(json.loads(request))
        except ValidationError as error:
            # It was valid when it came in: a later version asks for more.
            raise WorkRefused("invalid_request", f"{error.error_count()} fields are not what is taken.") from error
        before = unfinished(done) if done else None
        try:
            async with self._callers.named(name.subscription) as caller:
                made = await self._enricher.enrich(caller, asked, seconds=self._seconds, done=before)
                return Made.of(made, before)
        except SubscriptionUnknown as error:
            raise WorkRefused("subscription_unknown", f"There is no subscription {name.subscription}.") from error


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
        return made
    return WorkFailed("tasks_failed", "No task could be done.")


def _judged(error: EnrichmentError) -> WorkRefused | WorkFailed:
    code = error.code or "failed"
    if error.status >= 500 or error.status in (408, 429):
        return WorkFailed(code, error.message, error.retry_after or 0, throttled=error.status == 429)
    return WorkRefused(code, error.message)
