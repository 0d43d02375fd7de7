"""Simulated backends, and gateways in front of them."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.metering.tokens import VOCABULARIES, TokenCounter
from local.simulator.server import Simulator, serve_all
from local.simulator.settings import BackendSettings
from local.simulator.tokens import Tokenizers
from seams.tables import Tables
from tests.gateway.catalogs import MODELS, UPSTREAM_KEY, catalog_of
from tests.gateway.running import RunningGateway, Timeouts, run_gateway


@pytest.fixture(scope="session")
def tokenizers() -> Tokenizers:
    return Tokenizers(VOCABULARIES)


@pytest.fixture(scope="session")
def counter() -> TokenCounter:
    counter = TokenCounter(VOCABULARIES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", str(VOCABULARIES))
        counter.load()
        counter.count("text-embedding-3-small", "")
    return counter


@pytest.fixture
async def simulators(tokenizers: Tokenizers) -> AsyncIterator[dict[str, Simulator]]:
    """Two backends, `first` and `second`."""
    settings = [
        BackendSettings(name=name, api_key=UPSTREAM_KEY, deployments=MODELS, region=region)
        for name, region in (("first", "East US"), ("second", "Sweden Central"))
    ]
    async with serve_all(settings, tokenizers=tokenizers) as running:
        yield running


@pytest.fixture
async def gateway(simulators: dict[str, Simulator], counter: TokenCounter) -> AsyncIterator[RunningGateway]:
    async with run_gateway(simulators, counter) as running:
        yield running


@pytest.fixture
def gateway_with(simulators: dict[str, Simulator], counter: TokenCounter) -> Any:
    """Return a function that runs a gateway with other time-outs (seconds) or other parts of the catalog."""

    def run(
        *,
        random: bool = False,
        first_byte: float = 20,
        idle: float = 20,
        body: float = 20,
        heartbeat: float = 20,
        tables: Tables | None = None,
        **sections: Any,
    ) -> Any:
        catalog = catalog_of(simulators, **sections)
        if "deployments" in sections:
            catalog["subscriptions"].pop("team-b")
        timeouts = Timeouts(first_byte, idle, body, heartbeat)
        return run_gateway(simulators, counter, catalog=catalog, timeouts=timeouts, random=random, tables=tables)

    return run
