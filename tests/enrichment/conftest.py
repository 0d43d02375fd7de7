"""The ticket routes on a real server, in front of a gateway that answers as a test says."""

from collections.abc import AsyncIterator

import httpx2
import pytest
from fastapi import FastAPI, Request

from enrichment.caller import TicketCaller
from enrichment.enricher import Enricher, EnricherRules
from enrichment.routes import router
from hosting.services.models import Models
from tests.enrichment.fake_gateway import PATIENCE_SECONDS, FakeGateway, PerToken
from tests.served import served


@pytest.fixture
def gateway() -> FakeGateway:
    return FakeGateway()


@pytest.fixture
async def caller(gateway: FakeGateway) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the ticket routes, whose calls are charged to `service-desk`."""
    models = Models(gateway=gateway, timeout_seconds=PATIENCE_SECONDS, finish_seconds=PATIENCE_SECONDS)

    async def caller_of(_: Request) -> AsyncIterator[TicketCaller]:
        async with models.for_caller("service-desk") as client:
            yield TicketCaller("service-desk", client)

    app = FastAPI()
    app.include_router(router(caller_of, Enricher(EnricherRules(deployment="tickets-model"), PerToken())))
    async with (
        served(app) as base_url,
        httpx2.AsyncClient(base_url=base_url, timeout=PATIENCE_SECONDS, trust_env=False) as client,
    ):
        yield client
