"""The whole app on real ports, two instances over the same tables, their time in the test's hand."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import AsyncOpenAI

from hosting.app import create_app
from hosting.services.services import build_services
from hosting.settings import Settings
from local.simulator.server import Simulator
from tests.clocks import ShiftedClock
from tests.gateway.catalogs import OPERATOR_KEY, UPSTREAM_KEY, catalog_of
from tests.served import served

PATH = "/manage/subscriptions"


@dataclass
class Instance:
    """One instance of the app. `operator` has an operator's key, `anyone` none."""

    url: str
    operator: httpx2.AsyncClient
    anyone: httpx2.AsyncClient
    clients: list[AsyncOpenAI] = field(default_factory=list)

    def openai(self, key: str) -> AsyncOpenAI:
        client = AsyncOpenAI(base_url=f"{self.url}/openai/v1/", api_key=key, max_retries=0)
        self.clients.append(client)
        return client

    async def create(self, name: str, **fields: Any) -> dict[str, Any]:
        answer = await self.operator.post(PATH, json={"name": name, **fields})
        assert answer.status_code == 201, answer.text
        created: dict[str, Any] = answer.json()
        return created


@asynccontextmanager
async def running_instance(catalog: Mapping[str, Any], clock: ShiftedClock) -> AsyncIterator[Instance]:
    settings = Settings.model_validate(
        {"gateway_catalog": json.dumps(catalog), "TOLLGATE_SEAMS": "local.seams:open_seams"}
    )
    async with AsyncExitStack() as stack:
        services = build_services(settings, clock)
        stack.push_async_callback(services.close)
        url = await stack.enter_async_context(served(create_app(services)))
        operator = httpx2.AsyncClient(base_url=url, headers={"api-key": OPERATOR_KEY})
        anyone = httpx2.AsyncClient(base_url=url)
        instance = Instance(url, operator, anyone)
        try:
            yield instance
        finally:
            for client in (operator, anyone):
                await client.aclose()
            for model_client in instance.clients:
                await model_client.close()


@pytest.fixture
def clock() -> ShiftedClock:
    return ShiftedClock()


@pytest.fixture
async def instances(
    simulators: dict[str, Simulator], clock: ShiftedClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Instance, Instance]]:
    """Two instances over one state folder, with the catalog of the gateway's tests."""
    monkeypatch.setenv("STATE", str(tmp_path))
    monkeypatch.setenv("UPSTREAM_KEY", UPSTREAM_KEY)
    catalog = catalog_of(simulators)
    async with running_instance(catalog, clock) as one, running_instance(catalog, clock) as two:
        yield one, two


@pytest.fixture
def here(instances: tuple[Instance, Instance]) -> Instance:
    return instances[0]


@pytest.fixture
def there(instances: tuple[Instance, Instance]) -> Instance:
    return instances[1]
