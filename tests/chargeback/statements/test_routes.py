"""Statements over HTTP: who may read them, and what they look like to a program."""

from collections.abc import AsyncIterator

import httpx2
import pytest
from fastapi import FastAPI

from chargeback.errors import ChargebackError
from chargeback.prices import Prices
from chargeback.statements.routes import router
from chargeback.statements.statements import Statements
from seams.tables import Tables
from tests.chargeback.readers import in_openai_shape, reader_of
from tests.chargeback.staging import NOTHING_AVOIDED, everybody


@pytest.fixture
async def http(tables: Tables, prices: Prices) -> AsyncIterator[httpx2.AsyncClient]:
    app = FastAPI(exception_handlers={ChargebackError: in_openai_shape})
    app.include_router(router(Statements(tables, prices, everybody), reader_of))
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://tollgate") as http:
        yield http


@pytest.mark.parametrize("key", ["service-desk", "operator"])
async def test_statement_is_read(http: httpx2.AsyncClient, key: str) -> None:
    """A subscription reads its own statement, an operator anybody's."""
    answer = await http.get("/chargeback/statements/service-desk/2026-11", headers={"api-key": key})

    assert answer.status_code == 200
    assert answer.json() == {
        "subscription": "service-desk",
        "period": "2026-11",
        "currency": "USD",
        "total": "0.0000000000",
        "requests": 0,
        "tokens": {"prompt_tokens": 0, "cached_tokens": 0, "completion_tokens": 0, "reasoning_tokens": 0},
        "avoided": NOTHING_AVOIDED,
        "lines": [],
        "unpriced": [],
    }


@pytest.mark.parametrize(
    ("key", "path", "status", "code"),
    [
        ("data-science", "service-desk/2026-11", 403, "statement_forbidden"),
        ("data-science", "service-desk/nonsense", 403, "statement_forbidden"),
        ("operator", "service-desk/2026-13", 400, "invalid_period"),
        ("operator", "service-desk/2026-11%0A", 400, "invalid_period"),
    ],
)
async def test_refusals(http: httpx2.AsyncClient, key: str, path: str, status: int, code: str) -> None:
    """A foreign statement and a bad month are domain errors with a status and a code."""
    answer = await http.get(f"/chargeback/statements/{path}", headers={"api-key": key})

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


async def test_readers_own_errors_pass(http: httpx2.AsyncClient) -> None:
    """Who is asking is settled by the dependency, before anything is read."""
    assert (await http.get("/chargeback/statements/service-desk/2026-11")).status_code == 401


async def test_openapi_describes_the_statement(http: httpx2.AsyncClient) -> None:
    """The schema names the operation, its answers and every field of the contract."""
    schema = (await http.get("/openapi.json")).json()

    operation = schema["paths"]["/chargeback/statements/{subscription}/{period}"]["get"]
    assert operation["operationId"] == "get-statement"
    assert {"200", "400", "401", "403", "503"} <= operation["responses"].keys()
    line = schema["components"]["schemas"]["StatementLine"]["properties"]
    assert list(line)[:5] == ["day", "deployment", "model", "requests", "estimated_requests"]
    assert line["amount"]["type"] == "string"
