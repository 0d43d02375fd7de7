"""Waiting for a gateway that asks to come back, and for jobs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import httpx2
import pytest

from hosting.commands.enrichment_api import JOB_SECONDS, TRIES, EnrichmentApi
from hosting.commands.tollgate_api import Refused, TollgateApi, Unreachable

ANSWER: dict[str, Any] = {"suggestions": {}, "patch": {}, "tasks": [], "usage": {}, "cost": None}
ACCEPTED = httpx2.Response(202, headers={"location": "/jobs/j", "retry-after": "5"}, json={"id": "j"})


@dataclass
class Scripted:
    """A Tollgate that answers what it was given to answer, and a clock that moves as one waits."""

    answers: list[httpx2.Response | Refused]
    jobs: list[dict[str, Any]] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    def answer(self, _method: str, _path: str, _body: object, *, headers: Mapping[str, str]) -> httpx2.Response:
        assert headers["idempotency-key"]
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Refused):
            raise answer
        return answer

    def json(self, _fields: object, _method: str, path: str) -> dict[str, Any]:
        assert path == "/jobs/j"
        return {"id": "j"} | (self.jobs.pop(0) if len(self.jobs) > 1 else self.jobs[0])

    def api(self) -> EnrichmentApi:
        return EnrichmentApi(cast("TollgateApi", self), self.waits.append, lambda: sum(self.waits))


def refused(retry_after: float | None) -> Refused:
    return Refused(429, "429", "Slow down.", retry_after)


def test_it_comes_back_as_asked() -> None:
    """A refusal that says when to come back is waited for, and the answer then is the ticket's."""
    tollgate = Scripted([refused(3), refused(7), httpx2.Response(200, json=ANSWER)])
    assert tollgate.api().enrich({}) == ANSWER
    assert tollgate.waits == [3, 7]


@pytest.mark.parametrize("retry_after", [None, 3600])
def test_it_does_not_wait_without_being_asked(retry_after: float | None) -> None:
    """A refusal that names no time, or one that is far away, is the outcome."""
    tollgate = Scripted([refused(retry_after)])
    with pytest.raises(Refused):
        tollgate.api().enrich({})
    assert tollgate.waits == []


def test_it_gives_up() -> None:
    """After the last try the refusal is the outcome."""
    tollgate = Scripted([refused(1)])
    with pytest.raises(Refused):
        tollgate.api().enrich({})
    assert len(tollgate.waits) == TRIES - 1


def test_a_job_is_followed() -> None:
    """A job is asked for as often as it says, until there is a result."""
    running, done = {"status": "running"}, {"status": "succeeded", "result": ANSWER}
    tollgate = Scripted([ACCEPTED], [running, running, done])
    assert tollgate.api().enrich({}) == ANSWER
    assert tollgate.waits == [5, 5, 5]


@pytest.mark.parametrize("error", [{"code": "refusal", "message": "It refused."}, None])
def test_a_job_that_failed(error: dict[str, str] | None) -> None:
    """A failed job is a refusal with its reason."""
    tollgate = Scripted([ACCEPTED], [{"status": "failed", "error": error}])
    with pytest.raises(Refused, match=r"It refused\.|The job failed\.") as told:
        tollgate.api().enrich({})
    assert told.value.code == (error or {}).get("code", "")


def test_a_job_without_end() -> None:
    """A job that does not end is left to go on, and said to."""
    tollgate = Scripted([ACCEPTED], [{"status": "running"}])
    with pytest.raises(Unreachable, match="it goes on"):
        tollgate.api().enrich({})
    assert sum(tollgate.waits) == JOB_SECONDS


@pytest.mark.parametrize("answer", [httpx2.Response(200, text="<html>"), httpx2.Response(200, json=[1])])
def test_another_answer(answer: httpx2.Response) -> None:
    """What is no enrichment is told as such."""
    with pytest.raises(Unreachable, match="is this Tollgate"):
        Scripted([answer]).api().enrich({})


def test_a_wait_that_is_no_number() -> None:
    """Where a job does not say in seconds when to come back, it is asked every second."""
    accepted = httpx2.Response(202, headers={"location": "/jobs/j", "retry-after": "soon"}, json={})
    tollgate = Scripted([accepted], [{"status": "succeeded", "result": ANSWER}])
    tollgate.api().enrich({})
    assert tollgate.waits == [1]
