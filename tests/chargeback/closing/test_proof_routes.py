"""Proofs over HTTP: operators alone, days and months written as such."""

from collections.abc import AsyncIterator

import httpx2
import pytest
from fastapi import FastAPI

from chargeback.closing.proof_routes import router
from chargeback.errors import ChargebackError
from chargeback.prices import Prices
from seams.tables import Tables
from tests.chargeback.hub_world import World, event
from tests.chargeback.readers import OPERATOR, in_openai_shape, reader_of

PATH = "/chargeback/proofs"


@pytest.fixture
async def world(tables: Tables, prices: Prices) -> World:
    """A day with two events, collected and not closed."""
    world = World(tables, prices)
    world.append(event())
    world.skip("0", 1)
    world.append(event())
    await world.collect()
    return world


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx2.AsyncClient]:
    app = FastAPI(exception_handlers={ChargebackError: in_openai_shape})
    app.include_router(router(world.closing(), reader_of))
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://tollgate", headers=OPERATOR) as http:
        yield http


async def test_a_day_is_shown_open_then_closed(http: httpx2.AsyncClient) -> None:
    """Before the close a day is open and nothing of it is kept; after it, the proof has everything by name."""
    before = (await http.get(f"{PATH}/2026-11-20")).json()
    assert (before["status"], before["revision"], before["closed_at"], before["totals"]["stored"]) == (
        "open",
        0,
        None,
        None,
    )
    assert (await http.get(PATH, params={"period": "2026-11"})).json() == {"proofs": []}

    proved = (await http.post(f"{PATH}/2026-11-20")).json()

    counts = {
        "emitted": 3,
        "received": 2,
        "usage_events": 2,
        "intents": 0,
        "withdrawals": 0,
        "dead_letters": 0,
        "missing": 1,
        "day_events": 2,
        "summed": 2,
        "duplicates": 0,
        "stored": 2,
    }
    names = {"lane": "hub-1.0", "incarnation": "hub-1", "partition": "0", "first": 0, "last": 2}
    assert proved == {
        "day": "2026-11-20",
        "status": "broken",
        "revision": 1,
        "closed_at": "2026-11-21T01:00:00Z",
        "findings": ["partition 0 of hub-1: number 1 never arrived"],
        "totals": counts,
        "lanes": [{**names, **counts, "gaps": [[1, 1]], "complete": True, "lag": 0}],
    }
    assert (await http.get(f"{PATH}/2026-11-20")).json() == proved
    assert (await http.get(PATH, params={"period": "2026-11"})).json() == {
        "proofs": [{name: proved[name] for name in ("day", "status", "revision", "closed_at", "totals")}]
    }


@pytest.mark.parametrize(
    "day",
    [
        "2026-11-31",
        "2026-11-22",
        "20261120",
        "yesterday",
        "2026-11-2",
        "1",
        "2026-11-20%0A",
        "9999-12-31",
        "0001-01-01",
    ],
)
async def test_what_is_no_day(http: httpx2.AsyncClient, day: str) -> None:
    """Nonsense and days to come are refused by one name, for reading and for proving."""
    for method in ("GET", "POST"):
        answer = await http.request(method, f"{PATH}/{day}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_day")


@pytest.mark.parametrize("period", ["2026", "2026-13", "2026-11-01", "", "x" * 100])
async def test_what_is_no_month(http: httpx2.AsyncClient, period: str) -> None:
    """A month that is none is refused; one without proofs is empty."""
    answer = await http.get(PATH, params={"period": period})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_period")
    assert (await http.get(PATH, params={"period": "2999-12"})).json() == {"proofs": []}


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "?period=2026-11"), ("GET", "/2026-11-20"), ("POST", "/2026-11-20")]
)
async def test_operators_only(http: httpx2.AsyncClient, method: str, path: str) -> None:
    """A subscription's key may not read the whole house's books, and no key none."""
    refused = await http.request(method, PATH + path, headers={"api-key": "team-a"})
    unknown = await http.request(method, PATH + path, headers={"api-key": ""})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "permission_denied")
    assert unknown.status_code == 401
