"""Time limits, and work that goes on where an earlier try ended."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from starlette.types import Receive, Send

from enrichment.caller import TicketCaller
from enrichment.calls.calls import ModelCall
from enrichment.enricher import Enricher, EnricherRules
from enrichment.errors import GatewayRefused
from enrichment.requests.requests import EnrichRequest
from hosting.services.models import Models
from tests.enrichment.fake_gateway import FakeGateway, PerToken, completion, says
from tests.enrichment.printer import CHOICES, CLASSIFICATION, SUMMARY, TICKET

REQUEST = EnrichRequest.model_validate({"ticket": TICKET, "choices": CHOICES})


@pytest.fixture
def enricher() -> Enricher:
    return Enricher(EnricherRules(deployment="m", parallel_calls=2), PerToken())


@pytest.fixture
async def desk(gateway: FakeGateway) -> AsyncIterator[TicketCaller]:
    async with Models(gateway=gateway).for_caller("service-desk") as models:
        yield TicketCaller("service-desk", models)


async def silence(receive: Receive, _: Send) -> None:
    assert (await receive())["type"] == "http.disconnect"


async def test_a_slow_task_is_late_alone(gateway: FakeGateway, desk: TicketCaller, enricher: Enricher) -> None:
    """What was done in time is answered; the rest is `timeout`, and its calls are given up."""
    gateway.answers = {"summary": SUMMARY, "classification": silence}
    answer = await enricher.enrich(desk, REQUEST, seconds=1)
    assert answer.summary is not None
    assert [(task.name, task.error and task.error.code) for task in answer.tasks] == [
        ("summary", None), ("classification", "timeout")
    ]  # fmt: skip


async def test_neighbours_that_are_late(gateway: FakeGateway, desk: TicketCaller) -> None:
    """Where embeddings take too long, the search is late, and not a search that found nothing."""
    enricher = Enricher(EnricherRules(deployment="m", embeddings="e"), PerToken())
    gateway.answers = {"embeddings": silence}
    history = [{"number": "INC1", "short_description": "Printer on fire"}]
    request = EnrichRequest.model_validate({"ticket": TICKET, "tasks": ["similar"], "history": history})
    answer = await enricher.enrich(desk, request, seconds=0.2)
    assert answer.similar is None
    assert [task.error and task.error.code for task in answer.tasks] == ["timeout"]


async def test_embeddings_that_are_refused(gateway: FakeGateway, desk: TicketCaller) -> None:
    """Tickets are compared by their words then, and the answer says so."""
    enricher = Enricher(EnricherRules(deployment="m", embeddings="e"), PerToken())
    gateway.answers = {"embeddings": says({"error": {"message": "no such deployment"}}, 404)}
    history = [{"number": "INC1", "short_description": "Printer on fire"}]
    request = EnrichRequest.model_validate({"ticket": TICKET, "tasks": ["similar"], "history": history})
    answer = await enricher.enrich(desk, request)
    assert answer.similar is not None
    assert (answer.similar.method, [near.number for near in answer.similar.tickets]) == ("words", ["INC1"])
    assert [warning.code for warning in answer.tasks[0].warnings] == ["compared_by_words"]


async def test_nothing_is_begun_too_late(gateway: FakeGateway, desk: TicketCaller, enricher: Enricher) -> None:
    """Where the time is up before a task's turn, no model is asked for it."""
    answer = await enricher.enrich(desk, REQUEST, seconds=0)
    assert {task.error and task.error.code for task in answer.tasks} == {"timeout"}
    assert not gateway.requests
    assert answer.cost == "0"


async def test_done_tasks_are_not_done_again(gateway: FakeGateway, desk: TicketCaller, enricher: Enricher) -> None:
    """A second try runs what failed; results, tokens and cost of both are one answer."""
    gateway.answers = {"summary": SUMMARY, "classification": says(completion(None, refusal="no"))}
    first = await enricher.enrich(desk, REQUEST)
    gateway.answers["classification"] = CLASSIFICATION
    second = await enricher.enrich(desk, REQUEST, done=first)
    assert len(gateway.asked_of("summary")) == 1
    assert second.summary == first.summary
    assert second.patch.category == "Hardware"
    assert {task.status for task in second.tasks} == {"succeeded"}
    assert second.usage.total_tokens == 3 * 18
    assert second.cost == "0.54"


async def test_nothing_left_to_do(gateway: FakeGateway, desk: TicketCaller, enricher: Enricher) -> None:
    """A second try of what succeeded asks nothing and says the same."""
    gateway.answers = {"summary": SUMMARY, "classification": CLASSIFICATION}
    first = await enricher.enrich(desk, REQUEST)
    assert await enricher.enrich(desk, REQUEST, done=first) == first
    assert len(gateway.requests) == 2


async def test_calls_of_one_ticket_are_bounded(gateway: FakeGateway, desk: TicketCaller, enricher: Enricher) -> None:
    """No more calls are under way than the rules say."""
    under_way, most, two = 0, 0, asyncio.Event()

    async def reply(receive: Receive, send: Send) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        if under_way == 2:
            two.set()
        await two.wait()
        await says(completion("{}"))(receive, send)
        under_way -= 1

    gateway.reply = reply
    tasks = ["summary", "classification", "sentiment", "entities", "reply"]
    await enricher.enrich(desk, EnrichRequest.model_validate({"ticket": TICKET, "tasks": tasks}))
    assert (len(gateway.requests), most) == (5, 2)


async def test_a_defect_of_ours_is_its_tasks_error(
    gateway: FakeGateway, desk: TicketCaller, enricher: Enricher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug in one task is logged, and costs neither the other's result nor the count of tokens."""
    monkeypatch.setattr("enrichment.tasks.classification.confidence", lambda *_, **__: 1 / 0)
    gateway.answers = {"summary": SUMMARY, "classification": CLASSIFICATION}
    answer = await enricher.enrich(desk, REQUEST)
    assert [task.error and task.error.code for task in answer.tasks] == [None, "internal_error"]
    assert answer.usage.total_tokens == 36


async def test_a_refusal_after_charged_work_is_no_failed_request(
    gateway: FakeGateway, desk: TicketCaller, enricher: Enricher
) -> None:
    """Where tokens were used the answer is a 200 that shows them."""
    limited = says({"error": {"message": "later", "code": "rate_limit_exceeded"}}, 429)
    gateway.answers = {"summary": "no JSON", "classification": limited}
    answer = await enricher.enrich(desk, REQUEST)
    assert [task.error and task.error.code for task in answer.tasks] == ["not_json", "rate_limit_exceeded"]
    gateway.answers["summary"] = limited
    with pytest.raises(GatewayRefused):
        await enricher.enrich(desk, REQUEST)


async def test_a_limit_that_all_tasks_met(gateway: FakeGateway, desk: TicketCaller) -> None:
    """The refusal that asks for the longest wait is raised, although a search for similar tickets was answered."""
    enricher = Enricher(EnricherRules(deployment="m", embeddings="e"), PerToken())
    limited = {"error": {"message": "later", "code": "rate_limit_exceeded"}}
    vectors = [{"object": "embedding", "index": index, "embedding": [1.0, 0.0]} for index in range(2)]
    usage = {"prompt_tokens": 5, "total_tokens": 5}
    gateway.answers = {
        "embeddings": says({"object": "list", "model": "e", "data": vectors, "usage": usage}),
        "summary": says(limited, 429, [(b"retry-after", b"3")]),
        "classification": says(limited, 429, [(b"retry-after", b"30")]),
    }
    history = [{"number": "INC1", "short_description": "Printer on fire"}]
    request = EnrichRequest.model_validate({"ticket": TICKET, "choices": CHOICES, "history": history})
    with pytest.raises(GatewayRefused) as refused:
        await enricher.enrich(desk, request)
    assert (refused.value.status, refused.value.retry_after) == (429, 30)


async def test_placeholders_can_be_declined(gateway: FakeGateway, desk: TicketCaller, enricher: Enricher) -> None:
    """A subscription without placeholders sends tickets as they are, and no rule about marks."""
    gateway.answers = {"summary": SUMMARY}
    request = EnrichRequest.model_validate({"ticket": {"description": "mail joe@example.com"}, "tasks": ["summary"]})
    await enricher.enrich(TicketCaller("open", desk.models, placeholders=False), request)
    system, user = (message["content"] for message in gateway.requests[0][1]["messages"])
    assert "joe@example.com" in user
    assert "[EMAIL-1]" not in system


def test_the_price_of_a_call_is_asked_with_its_backend() -> None:
    """Usage adds up from what a call used."""
    call = ModelCall("r", "d", "m", "b", prompt_tokens=3, completion_tokens=4)
    assert call.usage().total_tokens == 7
