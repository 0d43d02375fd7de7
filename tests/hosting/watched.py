"""The whole app with two simulated backends, on a real port, for tests of what it tells of itself."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.metering.tokens import VOCABULARIES
from hosting.app import create_app
from hosting.services.services import Services, build_services
from hosting.settings import Settings
from local.simulator.server import Simulator, serve_all
from local.simulator.settings import BackendSettings
from local.simulator.tokens import Tokenizers
from tests.gateway.catalogs import KEY, MODELS, OPERATOR_KEY, UPSTREAM_KEY, catalog_of
from tests.served import served

PATH = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
PROMPT = "The albatross on floor three is on fire."


@dataclass
class WatchedApp:
    url: str
    services: Services
    simulators: dict[str, Simulator]

    async def ask(self, *, prompt: str = PROMPT, key: str = KEY, stream: bool = False, **headers: str) -> int:
        """Make a call, read all of its answer and return the status."""
        body = {"messages": [{"role": "user", "content": prompt}], "stream": stream}
        sent = {"api-key": key} | {name.replace("_", "-"): value for name, value in headers.items()}
        async with httpx2.AsyncClient(base_url=self.url, timeout=10) as client:
            return (await client.post(PATH, json=body, headers=sent)).status_code

    async def get(self, path: str, key: str = "") -> httpx2.Response:
        async with httpx2.AsyncClient(base_url=self.url, timeout=10) as client:
            return await client.get(path, headers={"api-key": key} if key else {})

    async def scrape(self) -> str:
        return (await self.get("/metrics", OPERATOR_KEY)).text


@asynccontextmanager
async def watched_app(folder: Path, **settings: Any) -> AsyncIterator[WatchedApp]:
    """Run the app with its state in this folder; `settings` by field name."""
    backends = [BackendSettings(name=name, api_key=UPSTREAM_KEY, deployments=MODELS) for name in ("first", "second")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STATE", str(folder))
        patch.setenv("UPSTREAM_KEY", UPSTREAM_KEY)
        async with serve_all(backends, tokenizers=Tokenizers(VOCABULARIES)) as simulators:
            values = {"seams": "local.seams:open_seams", "gateway_catalog": json.dumps(catalog_of(simulators))}
            services = build_services(Settings.model_validate(values | settings))
            try:
                async with served(create_app(services)) as url:
                    yield WatchedApp(url, services, simulators)
            finally:
                await services.close()
