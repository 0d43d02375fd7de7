"""Whatever is asked of chargeback's routes, the answer is an answer: never a failure of ours."""

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import httpx2
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chargeback.closing import proof_routes
from chargeback.closing.closing import Closing
from chargeback.deadletters import deadletter_routes
from chargeback.deadletters.requeueing import DeadLetters
from chargeback.errors import ChargebackError
from chargeback.prices import Prices
from chargeback.statements import routes
from chargeback.statements.statements import Statements
from local.events.events import LocalStream
from seams.clock import SystemClock
from seams.tables import Tables
from tests.chargeback.readers import OPERATOR, in_openai_shape, reader_of
from tests.chargeback.staging import everybody

ODD = [
    "%00",
    "..",
    "%2e%2e%2fusage",
    "x" * 3000,
    "%F0%9F%92%A9" * 50,
    "%ff%fe",
    "' or 1=1",
    "2026-11-20T00:00",
    "-1",
    "%E2%80%AE",
    "{id}",
    "999999999999999999-0000000000000000",
]
PATHS = [
    "/chargeback/statements/{}/2026-11",
    "/chargeback/statements/team-a/{}",
    "/chargeback/deadletters/{}",
    "/chargeback/deadletters?after={}",
    "/chargeback/deadletters?limit={}",
    "/chargeback/proofs/{}",
    "/chargeback/proofs?period={}",
]


@pytest.fixture
async def http(tables: Tables, prices: Prices, tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    """All of chargeback's routes over empty tables; what fails in them reaches the test."""
    stream, clock = LocalStream(tmp_path / "hub.sqlite"), SystemClock()
    app = FastAPI(exception_handlers={ChargebackError: in_openai_shape})
    app.include_router(routes.router(Statements(tables, prices, everybody), reader_of))
    app.include_router(deadletter_routes.router(DeadLetters(tables, stream, clock), reader_of))
    app.include_router(proof_routes.router(Closing(tables, stream, clock, days=90), reader_of))
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://tollgate", headers=OPERATOR) as http:
        yield http
    await stream.close()


@pytest.mark.parametrize("path", PATHS)
async def test_odd_words(http: httpx2.AsyncClient, path: str) -> None:
    """Nonsense, traversal, control characters and length are refused or found empty."""
    for odd in ODD:
        assert (await http.get(path.format(odd))).status_code in {200, 400, 404, 422}, odd
    for odd in ODD:
        assert (await http.post(f"/chargeback/deadletters/{odd}/requeue", content=b"{}")).status_code in {404, 405}, odd
        assert (await http.post(f"/chargeback/proofs/{odd}")).status_code in {200, 400, 404, 405}, odd


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(word=st.text(min_size=1, max_size=60), path=st.sampled_from(PATHS))
async def test_any_text(http: httpx2.AsyncClient, word: str, path: str) -> None:
    """The same for any text at all."""
    answer = await http.get(path.format(quote(word, safe="", errors="replace")))
    assert answer.status_code in {200, 307, 400, 404, 422}
