"""The work of a job: as its subscription, by the rules of /enrich, and what becomes of each failure."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from enrichment.caller import TicketCaller
from enrichment.enricher import Enricher, EnricherRules
from enrichment.errors import EnrichmentError, GatewayTimeout, NoAnswer
from enrichment.jobs.job import JobName
from enrichment.jobs.made import Made
from enrichment.jobs.work import Enriching, SubscriptionUnknown, WorkFailed, WorkRefused, made_by
from hosting.services.models import Models
from seams.tables import TableUnavailable
from tests.enrichment.fake_gateway import PATIENCE_SECONDS, FakeGateway, PerToken, completion, says
from tests.enrichment.jobs.parts import TICKET

NAME = JobName("team-a", "one")
SUMMARY = {
    "issue": [{"sentence": "VPN drops.", "entries": ["short_description"]}],
    "actions_taken": [],
    "resolution": [],
}
REPLY = {"entries": ["short_description"], "text": "We look into it."}


class Callers:
    """Knows team-a alone, whose calls `gateway` gets."""

    def __init__(self, gateway: FakeGateway) -> None:
        self._models = Models(gateway=gateway, timeout_seconds=PATIENCE_SECONDS, finish_seconds=PATIENCE_SECONDS)

    @asynccontextmanager
    async def named(self, subscription: str) -> AsyncIterator[TicketCaller]:
        if subscription != "team-a":
            raise SubscriptionUnknown(subscription)
        async with self._models.for_caller(subscription) as client:
            yield TicketCaller(subscription, client)


def working(gateway: FakeGateway, seconds: float = 60.0) -> Enriching:
    enricher = Enricher(EnricherRules(deployment="tickets-model"), PerToken())
    return Enriching(enricher, Callers(gateway), seconds)


def request(**ticket: Any) -> bytes:
    return json.dumps({"ticket": TICKET | ticket, "tasks": ["summary"]}).encode()


async def test_a_result() -> None:
    """The work is what /enrich does, charged to the job's subscription."""
    gateway = FakeGateway(says(completion(json.dumps(SUMMARY))))
    made = await working(gateway).perform(NAME, request(), None)
    assert made.lasting
    assert json.loads(made.result)["summary"]["issue"] == "VPN drops."
    [(scope, _)] = gateway.requests
    assert scope["tollgate.caller"] == "team-a"


async def test_a_job_goes_on_where_an_earlier_try_ended() -> None:
    """What an earlier result has is taken over, and stays where the gateway refuses all that is left."""
    limited = says({"error": {"message": "slow down", "code": "rate_limit_exceeded"}}, 429, [(b"retry-after", b"0")])
    gateway = FakeGateway(answers={"summary": SUMMARY, "reply": limited})
    both = json.dumps({"ticket": TICKET, "tasks": ["summary", "reply"]}).encode()
    first = await working(gateway).perform(NAME, both, None)
    second = await working(gateway).perform(NAME, both, first.result)
    assert [made.waiting and made.waiting.further for made in (first, second)] == [True, False]
    assert json.loads(second.result)["summary"] == json.loads(first.result)["summary"]
    gateway.answers["reply"] = REPLY
    third = await working(gateway).perform(NAME, both, second.result)
    assert third.waiting is None
    told = json.loads(third.result)
    assert [task["status"] for task in told["tasks"]] == ["succeeded", "succeeded"]
    assert told["usage"]["total_tokens"] == 36
    assert len(gateway.asked_of("summary")) == 1


async def test_whatever_came_in_is_read_again() -> None:
    """Fields that are nested deeply, or hold what is no JSON to everybody, are no obstacle later."""
    gateway = FakeGateway(says(completion(json.dumps(SUMMARY))))
    deep: Any = "x"
    for _ in range(300):
        deep = [deep]
    made = await working(gateway).perform(NAME, request(u_deep=deep, u_number=float("nan")), None)
    assert json.loads(made.result)["summary"]["issue"] == "VPN drops."


async def test_an_unknown_subscription() -> None:
    """A subscription that is gone is the end of its jobs."""
    gateway = FakeGateway()
    outcome = await made_by(working(gateway).perform(JobName("team-z", "one"), request(), None), 10)
    assert isinstance(outcome, WorkRefused)
    assert outcome.failure.code == "subscription_unknown"
    assert not gateway.requests


async def test_a_request_of_another_version() -> None:
    """A request that is taken no more is the end of its job."""
    outcome = await made_by(working(FakeGateway()).perform(NAME, b'{"ticket": {}}', None), 10)
    assert isinstance(outcome, WorkRefused)
    assert outcome.failure.code == "invalid_request"


@pytest.mark.parametrize(
    ("status", "headers", "kind"),
    [
        (429, [(b"retry-after", b"7")], WorkFailed),
        (503, [], WorkFailed),
        (403, [], WorkRefused),
        (404, [], WorkRefused),
    ],
)
async def test_the_gateways_refusals(status: int, headers: list[tuple[bytes, bytes]], kind: type[Exception]) -> None:
    """What passes is worth another try, when the gateway says so; what the subscription may not do is not."""
    gateway = FakeGateway(says({"error": {"message": "no", "code": "a_code"}}, status, headers))
    outcome = await made_by(working(gateway).perform(NAME, request(), None), 10)
    assert isinstance(outcome, kind)
    if isinstance(outcome, WorkFailed):
        assert (outcome.wait_seconds, outcome.throttled) == ((7, True) if status == 429 else (0, False))


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (GatewayTimeout("late"), "gateway_timeout"),
        (ValueError("a secret"), "internal_error"),
        (EnrichmentError("a defect"), "internal_error"),
    ],
)
async def test_failures_that_may_pass(failure: Exception, code: str) -> None:
    """Failures that may pass are told by their code; a defect's own words stay in the log."""

    async def fail() -> Made:
        raise failure

    outcome = await made_by(fail(), 10)
    assert isinstance(outcome, WorkFailed)
    assert outcome.failure.code == code
    assert "secret" not in outcome.failure.message


async def test_no_answer_is_final() -> None:
    """What a model will not answer it will not answer the next time."""

    async def fail() -> Made:
        raise NoAnswer("no", code="content_filter")

    assert isinstance(await made_by(fail(), 10), WorkRefused)


async def test_work_without_end() -> None:
    """Work that takes too long is ended."""
    outcome = await made_by(asyncio.Event().wait(), 0.01)  # type: ignore[arg-type]  # it never returns
    assert isinstance(outcome, WorkFailed)
    assert outcome.failure.code == "timeout"


async def test_results_that_do_not_last() -> None:
    """A result that another try may better is no result of a job."""

    async def poor() -> Made:
        return Made(b"{}", lasting=False)

    outcome = await made_by(poor(), 10)
    assert isinstance(outcome, WorkFailed)
    assert outcome.failure.code == "tasks_failed"


async def test_silent_tables_are_nobodys_fault() -> None:
    """That the tables do not answer is no failure of the work."""

    async def fail() -> Made:
        raise TableUnavailable("silent")

    with pytest.raises(TableUnavailable):
        await made_by(fail(), 10)
