"""What an enrichment is worth: whether it is kept, and whether asking again would bring more."""

import json
from dataclasses import dataclass
from typing import Final, Self

from pydantic import ValidationError

from enrichment.answers.answers import Enrichment
from enrichment.jobs.job import Failure

PASSING: Final = frozenset(
    {
        "timeout",
        "gateway_timeout",
        "bad_gateway",
        "internal_error",
        "no_backend_available",
        "rate_limit_exceeded",
        "storage_unavailable",
    }
)
"""Codes of task errors that another try may not have."""


_THROTTLED: Final = frozenset({"rate_limit_exceeded", "no_backend_available"})
"""Codes of task errors whose calls were not made at all: it was not their turn."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Tasks whose turn is yet to come, in `seconds` at least. `further`: this try did more than the one before."""

    failure: Failure
    seconds: float
    further: bool


@dataclass(frozen=True, slots=True)
class Made:
    """A result as JSON. `lasting` says that another try of all of it would bring nothing better."""

    result: bytes
    lasting: bool
    waiting: Waiting | None = None

    @classmethod
    def of(cls, enrichment: Enrichment, done: Enrichment | None = None) -> Self:
        """Return what an enrichment is worth that went on from `done`."""
        errors = [outcome.error for outcome in enrichment.tasks if outcome.error]
        # Where a task succeeded the result lasts, whatever became of the others.
        lasting = len(errors) < len(enrichment.tasks) or not PASSING.issuperset(error.code for error in errors)
        throttled = [error for error in errors if error.code in _THROTTLED]
        waiting = None
        if throttled:
            failure = Failure.of(throttled[0].code, throttled[0].message)
            seconds = max(error.retry_after or 0 for error in throttled)
            waiting = Waiting(failure, seconds, further=_successes(enrichment) > _successes(done))
        return cls(enrichment.model_dump_json().encode(), lasting, waiting)


def _successes(enrichment: Enrichment | None) -> int:
    return sum(outcome.status == "succeeded" for outcome in enrichment.tasks) if enrichment else 0


def unfinished(result: bytes) -> Enrichment | None:
    """Return a result of which tasks failed for a reason that may pass; None for one that is as good as it gets.

    So is one that another version wrote in a way that is not taken any more.
    """
    told = json.loads(result)
    outcomes = told.get("tasks", ()) if isinstance(told, dict) else ()
    if PASSING.isdisjoint(outcome["error"]["code"] for outcome in outcomes if outcome.get("error")):
        return None
    try:
        return Enrichment.model_validate(told)
    except ValidationError:
        return None
