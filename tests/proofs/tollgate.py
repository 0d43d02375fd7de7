"""The whole product as a process of its own, as `make run` starts it, and its charges against what was invoiced."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2

from gateway.answers.reports import split_version
from local.events.events import LocalStream
from local.simulator.server import Simulator
from local.tables import SQLiteTables
from tests.gateway.catalogs import OPERATOR_KEY, UPSTREAM_KEY
from tests.proofs.fire.books import close_days

ROOT = Path(__file__).parents[2]
KEYS = {"team-a": "sk-team-a", "team-b": "sk-team-b"}
METERS = ("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens")


@dataclass(frozen=True)
class Tollgate:
    url: str
    process: Process

    async def kill(self) -> None:
        """End it as a platform does that takes an instance away: at once, and without a word."""
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def running_tollgate(catalog: dict[str, Any], state: Path, **settings: str) -> AsyncIterator[Tollgate]:
    """Start the product with this catalog on a free port, and end it as Ctrl-C does unless it was killed."""
    environment = {
        **os.environ,
        "PORT": "0",
        "STATE": str(state),
        "GATEWAY_CATALOG": json.dumps(catalog),
        "UPSTREAM_KEY": UPSTREAM_KEY,
        "LOG_LEVEL": "ERROR",
        **settings,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "local", cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            while not (line := (await process.stdout.readline()).decode()).startswith("Tollgate is ready at "):
                assert line, "Tollgate did not start"
        yield Tollgate(line.split()[-1], process)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        async with asyncio.timeout(10):
            await process.communicate()


async def statements(url: str, requests: int) -> list[dict[str, Any]]:
    """Return the month's statements of both subscriptions, once so many requests are on them."""
    period = f"{datetime.now(UTC):%Y-%m}"
    async with httpx2.AsyncClient(base_url=url, headers={"api-key": OPERATOR_KEY}) as client, asyncio.timeout(30):
        while True:
            answers = [await client.get(f"/chargeback/statements/{name}/{period}") for name in KEYS]
            found = [answer.raise_for_status().json() for answer in answers]
            if sum(statement["requests"] for statement in found) >= requests:
                return found
            await asyncio.sleep(0.05)


async def collected(url: str) -> None:
    """Wait until the collector has read all that the hub holds."""
    async with httpx2.AsyncClient(base_url=url, headers={"api-key": OPERATOR_KEY}) as client, asyncio.timeout(30):
        while True:
            proof = (await client.get(f"/chargeback/proofs/{datetime.now(UTC):%Y-%m-%d}")).raise_for_status().json()
            if not any(lane["lag"] for lane in proof["lanes"]):
                return
            await asyncio.sleep(0.05)


async def findings(state: Path) -> list[str]:
    """Close the days of a product that was stopped, and return whatever does not agree in them."""
    tables, hub = SQLiteTables(state / "tables.sqlite"), LocalStream(state / "events-usage.sqlite")
    try:
        proofs = await close_days(tables, hub)
    finally:
        await hub.close()
        await tables.close()
    assert proofs, "no day could be closed"
    return [finding for proof in proofs for finding in proof.findings]


def charged(statements: list[dict[str, Any]]) -> dict[str, Counter[str]]:
    totals: dict[str, Counter[str]] = {}
    for line in (line for statement in statements for line in statement["lines"]):
        totals.setdefault(line["model"], Counter()).update({name: line[name] for name in METERS})
    return totals


def invoiced(simulators: dict[str, Simulator]) -> dict[str, Counter[str]]:
    totals: dict[str, Counter[str]] = {}
    for line in (line for simulator in simulators.values() for line in simulator.invoice.lines):
        model = split_version(line.model)[0]
        totals.setdefault(model, Counter()).update({name: getattr(line, name) for name in METERS})
    return totals
