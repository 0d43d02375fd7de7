"""docs/errors.md against what the app answers for each error that the code can raise."""

import json
from collections import Counter
from collections.abc import Callable, Iterable

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from chargeback.errors import ChargebackError
from enrichment import errors as enrichment
from enrichment.errors import EnrichmentError
from enrichment.jobs.errors import StillRunning
from gateway.errors import GatewayError, NoBackend
from hosting.web.error_answers import add_error_handlers
from seams.events import StreamUnavailable
from seams.tables import TableUnavailable

type Rows = list[dict[str, str]]

GATEWAY: list[Exception] = [
    GatewayError("a failure"),
    NoBackend("throttled", throttled=True, retry_after=1.5),
    NoBackend("failing", throttled=False, retry_after=1.5),
]
TICKETS: list[Exception] = [
    enrichment.InvalidBody("a field"),
    enrichment.InvalidBody("no JSON", is_json=False),
    StillRunning("wait"),
    *(enrichment.NoAnswer("none", code=code) for code in ("refusal", "content_filter", "length")),
]
APP: list[Exception] = [
    HTTPException(404),
    HTTPException(405),
    HTTPException(408),
    HTTPException(413),
    RequestValidationError([{"loc": ("body", "field"), "msg": "is missing"}]),
    TableUnavailable("silent"),
    StreamUnavailable("silent"),
    RuntimeError("a defect"),
]
UNSENT = {enrichment.CallerLeft, enrichment.GatewayRefused}
"""The one reaches nobody, the other is whatever the gateway answered."""


def subclasses(base: type[Exception]) -> Iterable[type[Exception]]:
    for each in base.__subclasses__():
        yield each
        yield from subclasses(each)


def every(base: type[Exception], made: list[Exception]) -> list[Exception]:
    """Return an instance of each kind of error; `made` are those that take more than a message."""
    known = UNSENT | {type(error) for error in made}
    return [*made, *(kind("a message") for kind in subclasses(base) if kind not in known)]


async def answered(error: Exception) -> tuple[str, ...]:
    """Return the row that describes what a caller gets for this error."""
    app = FastAPI()
    add_error_handlers(app)

    @app.get("/")
    async def fail() -> None:
        raise error

    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.get("/")
    told = json.loads(answer.text)["error"]
    assert set(told) - {"innererror"} == {"message", "type", "param", "code"}
    name = "Exception" if type(error) is RuntimeError else type(error).__name__
    retry = "yes" if "retry-after" in answer.headers else ""
    return str(answer.status_code), told["code"], told["type"], retry, name


@pytest.mark.parametrize(
    ("heading", "errors"),
    [
        ("The gateway", every(GatewayError, GATEWAY)),
        ("Chargeback", every(ChargebackError, [])),
        ("Tickets", every(EnrichmentError, TICKETS)),
        ("The app as a whole", APP),
    ],
)
async def test_every_refusal_is_described(
    heading: str, errors: list[Exception], rows_of: Callable[[str, str], Rows]
) -> None:
    """The table has one row for each error that can be answered, with the status, code and type that a caller gets."""
    columns = ("status", "code", "type", "Retry-After", "raised as")
    described = Counter(tuple(row[column] for column in columns) for row in rows_of("errors.md", heading))
    assert described == Counter([await answered(error) for error in errors])
    assert all(row["when"] for row in rows_of("errors.md", heading))
