"""Ticket enrichment of a running Tollgate, as the command line calls it."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from hosting.commands.tollgate_api import Json, Refused, TollgateApi, Unreachable

JOB_SECONDS: Final = 600.0
LONGEST_WAIT: Final = 60.0
TRIES: Final = 4
_ANSWER: Final = ("suggestions", "patch", "tasks", "usage", "cost")


@dataclass(frozen=True, slots=True)
class EnrichmentApi:
    """Asks one ticket after another; from several threads several at a time.

    `sleep` and `monotonic` are the time between asking for a job, in seconds; `draw` makes the key of a ticket's
    answer.
    """

    api: TollgateApi
    sleep: Callable[[float], None] = time.sleep
    monotonic: Callable[[], float] = time.monotonic
    draw: Callable[[], str] = lambda: os.urandom(16).hex()

    def enrich(self, body: Json) -> Json:
        """Return what /enrich answers, at once or as the job that it made. Raises Refused and Unreachable.

        Where the gateway asks to come back, it is asked again as it says, up to TRIES times.
        """
        # Whoever asks from a shell wants a new answer; what is asked again after a failure is not to be paid twice.
        key = self.draw()
        for _ in range(TRIES - 1):
            try:
                return self._enriched(body, key)
            except Refused as refused:
                if refused.retry_after is None or refused.retry_after > LONGEST_WAIT:
                    raise
                self.sleep(refused.retry_after)
        return self._enriched(body, key)

    def _enriched(self, body: Json, key: str) -> Json:
        answer = self.api.answer("POST", "/enrich", body, headers={"idempotency-key": key})
        if answer.status_code == 202:
            return self._job(answer.headers.get("location", ""), _seconds(answer.headers.get("retry-after")))
        try:
            found: Any = answer.json()
        except ValueError:
            found = None
        return _checked(found)

    def _job(self, path: str, wait: float) -> Json:
        until = self.monotonic() + JOB_SECONDS
        while self.monotonic() < until:
            self.sleep(wait)
            job = self.api.json(("id", "status"), "GET", path)
            match job["status"]:
                case "succeeded":
                    return _checked(job.get("result"))
                case "failed":
                    error = job.get("error") or {}
                    raise Refused(422, str(error.get("code", "")), str(error.get("message", "The job failed.")))
        raise Unreachable(f"The job {path} did not end within {JOB_SECONDS:g} s; it goes on.")


def _checked(found: Any) -> Json:
    if not isinstance(found, dict) or not all(name in found for name in _ANSWER):
        raise Unreachable("The answer is no enrichment: is this Tollgate?")
    return found


def _seconds(text: str | None) -> float:
    try:
        return min(max(float(text or ""), 0.1), LONGEST_WAIT)
    except ValueError:
        return 1.0
