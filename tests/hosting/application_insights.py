"""Run as a program: the app with Application Insights set makes calls, and tells what was imported when.

Arguments: the connection string, the state folder. The exporter configures the whole process, so it gets one.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

import httpx2
from opentelemetry import trace
from opentelemetry._logs import get_logger_provider

from tests.gateway.catalogs import KEY, OPERATOR_KEY
from tests.hosting.watched import PROMPT, watched_app

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def run(connection_string: str, folder: Path) -> None:
    async with watched_app(folder, application_insights=connection_string) as app:
        assert "azure.monitor.opentelemetry" not in sys.modules
        assert await app.ask() == 200
        app.services.monitoring.start()
        connecting = app.services.monitoring._connecting
        assert connecting is not None
        await connecting
        await app.ask(traceparent=PARENT)
        for _ in range(3):
            await app.ask()
        async with httpx2.AsyncClient(base_url=app.url, headers={"api-key": KEY}) as client:
            assert (await client.post("/stream", json={"input": [PROMPT]})).status_code == 422
        assert (await app.get("/metrics", OPERATOR_KEY)).status_code == 200
    providers: list[Any] = [trace.get_tracer_provider(), get_logger_provider()]
    for provider in providers:
        await asyncio.to_thread(provider.force_flush)


asyncio.run(run(sys.argv[1], Path(sys.argv[2])))
