"""What an enrichment is worth: whether it is kept, and whether asking again would bring more."""

import json
from dataclasses import dataclass
from typing import Final, Self

from pydantic import ValidationError

from enrichment.answers.answers import Enrichment

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


@dataclass(frozen=True, slots=True)
class Made:
    """A result as JSON. `lasting` says that another try of all of it would bring nothing better."""

    result: bytes
    lasting: bool

    @classmethod
    def of(cls, enrichment: Enrichment) -> Self:
        codes = [outcome.error.code if outcome.error else "" for outcome in enrichment.tasks]
        return cls(enrichment.model_dump_json().encode(), not PASSING.issuperset(codes))


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
