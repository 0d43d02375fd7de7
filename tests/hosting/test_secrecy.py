"""Nothing that the app tells of itself holds a key, a prompt or an answer: everything that it told is searched."""

import asyncio
import contextlib
import logging
from pathlib import Path

import httpx2
import openai
import pytest

from local.simulator.faults import AnyFault, Cut, Garbage, Malformed, Reset, Status
from tests.gateway.catalogs import KEY, OPERATOR_KEY, UPSTREAM_KEY
from tests.hosting.recorded import Recorded
from tests.hosting.watched import PATH, PROMPT, WatchedApp, watched_app

WORD = "albatross"
WRONG_KEY = "sk-nobody-has-this"
SECRETS = (WORD, KEY, OPERATOR_KEY, UPSTREAM_KEY, WRONG_KEY)
FAULTS: list[AnyFault] = [
    Status(status=500, times=1),
    Status(status=429, headers={"retry-after-ms": "1"}, times=1),
    Status(status=401, times=1),
    Reset(times=1),
    Garbage(times=1),
    Malformed(times=1),
    Cut(after_chunks=3, times=1),
    Cut(after_chunks=0, times=1),
]


async def everything(app: WatchedApp) -> None:
    """Make calls of every kind: answered, refused, failing over, broken, abandoned, and through the ticket routes."""
    for stream in (False, True):
        await app.ask(stream=stream, x_workload_id="nightly")
        for fault in FAULTS:
            await app.simulators["first"].inject(fault)
            with contextlib.suppress(httpx2.TransportError):
                await app.ask(stream=stream)
            await app.simulators["first"].clear()
    for key in (WRONG_KEY, OPERATOR_KEY, ""):
        await app.ask(key=key)
    async with httpx2.AsyncClient(base_url=app.url, headers={"api-key": KEY}, timeout=10) as client:
        await client.post(PATH, content=f'{{"messages": "{PROMPT}"'.encode())
        await client.post(PATH, json={"messages": PROMPT, "stream": "no"})
        await client.post("/summarize", json={"short_description": PROMPT, "description": PROMPT})
        await client.post("/stream", json={"input": PROMPT})
    async with openai.AsyncAzureOpenAI(
        azure_endpoint=app.url, api_key=KEY, api_version="2024-10-21", max_retries=0
    ) as client:
        pieces = await client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": PROMPT}], stream=True
        )
        async for _ in pieces:
            break
        await pieces.close()


@pytest.mark.parametrize("out", [False, True], ids=["served", "all backends out"])
async def test_nothing_that_was_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], out: bool
) -> None:
    """Spans, metrics, log records, probes and what was printed hold no key and no word of a prompt or an answer."""
    caplog.set_level(logging.DEBUG)
    recorded = Recorded()
    async with watched_app(tmp_path, call_log="1", log_level="DEBUG", enrichment_deployment="gpt-4o") as app:
        app.services.monitoring.watch(recorded.observer())
        if out:
            for simulator in app.simulators.values():
                await simulator.inject(Status(status=429, headers={"retry-after-ms": "60000"}))
            await app.ask()
        else:
            await everything(app)
        told = [await app.scrape(), (await app.get("/readyz", OPERATOR_KEY)).text]
    async with asyncio.timeout(30):
        while not any(record.name == "tollgate.calls" for record in caplog.records):
            await asyncio.sleep(0.005)
    told += [span.to_json() for span in recorded.spans.get_finished_spans()]
    told.append(recorded.metrics())
    told += [record.getMessage() + str(record.exc_text) for record in caplog.records]
    told += capfd.readouterr()
    assert len(told) > 8
    assert recorded.points("gen_ai.client.operation.duration")
    for secret in SECRETS:
        assert [text for text in told if secret in text] == []
