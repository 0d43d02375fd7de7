"""What /openapi.json says of the ticket routes, and whose errors are whose."""

import asyncio
import json

import httpx2
import pytest
from fastapi import FastAPI, HTTPException
from openapi_spec_validator import validate

from enrichment.answers.answers import Summary
from enrichment.caller import TicketCaller
from enrichment.enricher import Enricher, EnricherRules
from enrichment.errors import GatewayTimeout
from enrichment.requests.requests import EnrichRequest, Question
from enrichment.routes import router
from enrichment.tickets.ticket import Ticket
from hosting.services.models import Models
from tests.enrichment.fake_gateway import FakeGateway, PerToken, Script

ENRICHER = Enricher(EnricherRules(deployment="tickets-model"), PerToken())


async def unknown_caller() -> None:
    raise HTTPException(401, "nobody's key")


@pytest.fixture
def app() -> FastAPI:
    app = FastAPI()
    app.include_router(router(unknown_caller, ENRICHER))
    return app


def test_the_description(app: FastAPI) -> None:
    """It is valid, names each operation, gives errors as JSON beside a stream, and needs no anyOf."""
    described = app.openapi()
    validate(described)
    operations = {path: item["post"] for path, item in described["paths"].items()}
    assert {path: operation["operationId"] for path, operation in operations.items()} == {
        "/summarize": "summarize-ticket",
        "/enrich": "enrich-ticket",
        "/stream": "stream-answer",
    }
    for operation in operations.values():
        errors = {
            status: answer["content"]
            for status, answer in operation["responses"].items()
            if status not in {"200", "202", "409"}
        }
        assert errors.keys() == {"400", "401", "403", "404", "408", "413", "422", "429", "502", "503", "504"}
        assert all(list(content) == ["application/json"] for content in errors.values())
    assert list(operations["/stream"]["responses"]["200"]["content"]) == ["text/event-stream"]
    assert "anyOf" not in json.dumps(described)


def test_examples_are_true() -> None:
    """Each example of a body is one that its model takes."""
    for model in (Ticket, Question, Summary, EnrichRequest):
        [example] = model.model_json_schema()["examples"]
        model.model_validate(example)


async def test_the_dependencys_own_errors_pass(app: FastAPI) -> None:
    """Who a caller is decides the dependency, and its refusal is answered as the app answers it."""
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        answer = await client.post("/summarize", json={"description": "x"})
    assert (answer.status_code, answer.json()) == (401, {"detail": "nobody's key"})


async def test_a_stream_that_falls_silent(gateway: FakeGateway) -> None:
    """Silence for longer than the client's time-out ends the answer with an error."""
    gateway.reply = Script([b": nothing yet\n\n"], asyncio.Semaphore(0))
    async with Models(gateway=gateway, timeout_seconds=0.05).for_caller("one") as models:
        with pytest.raises(GatewayTimeout):
            await ENRICHER.answer(TicketCaller("one", models), Question(input="x"))


async def test_a_body_that_is_broken_off(caller: httpx2.AsyncClient, gateway: FakeGateway) -> None:
    """A caller that hangs up inside its body costs nothing."""
    base = caller.base_url
    _, writer = await asyncio.open_connection(base.host, base.port)
    writer.write(b"POST /stream HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert not gateway.requests
