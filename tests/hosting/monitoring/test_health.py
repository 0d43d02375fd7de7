"""`/healthz` and `/readyz` of the whole app, and the checks behind them."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gateway.publishing.delivery import DeliveryState
from hosting.monitoring.health import KEPT_SECONDS, STORAGE_SECONDS, Finding, Readiness, storage_check, stream_finding
from seams.tables import Table, TableUnavailable
from tests.clocks import HandClock
from tests.gateway.catalogs import KEY, OPERATOR_KEY, UPSTREAM_KEY
from tests.hosting.watched import WatchedApp, watched_app


@dataclass
class SickTables:
    """Storage that fails, or that never answers."""

    silent: bool = False
    asked: list[str] = field(default_factory=list)

    async def table(self, name: str) -> Table:
        self.asked.append(name)
        if self.silent:
            await asyncio.Event().wait()
        raise TableUnavailable("AccountKey=secret")

    async def close(self) -> None:
        return


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[WatchedApp]:
    async with watched_app(tmp_path) as app:
        await asyncio.to_thread(app.services.counter.load)
        yield app


async def test_alive(app: WatchedApp) -> None:
    """`/healthz` needs no key and says that the process answers."""
    answer = await app.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


async def test_ready_for_everybody(app: WatchedApp) -> None:
    """Without a key, with a wrong one and with a subscription's, `/readyz` tells its status and nothing else."""
    for key in ("", "nobody's", KEY):
        answer = await app.get("/readyz", key)
        assert (answer.status_code, answer.json()) == (200, {"status": "ready"})


async def test_details_for_operators(app: WatchedApp) -> None:
    """An operator sees each check and its facts, and no secret among them."""
    answer = await app.get("/readyz", OPERATOR_KEY)
    checks: dict[str, Any] = answer.json()["checks"]
    assert set(checks) == {"catalog", "storage", "event_stream", "vocabulary", "price_book"}
    assert all(check["ok"] for check in checks.values())
    assert checks["catalog"]["facts"] == {"backends": 2, "deployments": 3}
    assert checks["event_stream"]["facts"] == {"waiting": 0, "outboxed": 0, "in_memory": 0, "lost": 0}
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", checks["price_book"]["facts"]["latest_change"])
    assert not any(secret in answer.text for secret in (KEY, OPERATOR_KEY, UPSTREAM_KEY))


async def test_no_paid_call(app: WatchedApp) -> None:
    """Asking for readiness asks no backend for anything."""
    await app.get("/readyz")
    assert not any(simulator.invoice.lines for simulator in app.simulators.values())


async def test_not_ready_before_the_vocabulary_is_loaded(tmp_path: Path) -> None:
    """An instance that cannot count tokens yet is 503."""
    async with watched_app(tmp_path) as app:
        answer = await app.get("/readyz", OPERATOR_KEY)
        assert (answer.status_code, answer.json()["status"]) == (503, "not_ready")
        assert answer.json()["checks"]["vocabulary"] == {"ok": False, "facts": {"state": "loading"}}


async def test_storage_that_fails() -> None:
    """A storage fault fails the check, which keeps the fault's text to itself."""
    finding = await storage_check(SickTables())()
    assert finding == Finding(ok=False, facts={"error": "TableUnavailable"})


async def test_storage_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Storage that never answers fails the check after its time-out."""
    assert STORAGE_SECONDS <= 5
    monkeypatch.setattr("hosting.monitoring.health.STORAGE_SECONDS", 0.05)
    async with asyncio.timeout(30):
        finding = await storage_check(SickTables(silent=True))()
    assert not finding.ok


async def test_many_questions_are_one_look() -> None:
    """However many ask within the time that a finding is kept, storage is looked at once; then once more."""
    clock, tables = HandClock(), SickTables()
    readiness = Readiness({"storage": storage_check(tables)}, clock)
    await asyncio.gather(*(readiness.findings() for _ in range(100)))
    assert len(tables.asked) == 1
    clock.pass_by(seconds=KEPT_SECONDS)
    await asyncio.gather(*(readiness.findings() for _ in range(100)))
    assert len(tables.asked) == 2


@pytest.mark.parametrize(("failing_for", "ok"), [(None, True), (0.0, False), (59.0, False), (61.0, True)])
def test_a_stream_that_refuses(failing_for: float | None, ok: bool) -> None:
    """A refusal counts for a minute: an instance that is sent no calls would never publish and so never recover."""
    assert stream_finding(3, DeliveryState(failing_for, 0, 0, 0, 0)).ok is ok


def test_events_that_no_store_takes() -> None:
    """An instance whose usage events are in memory only is not ready, and says how many."""
    finding = stream_finding(3, DeliveryState(None, kept=7, outboxed=2, lost=1, dropped_intents=0))
    assert finding == Finding(ok=False, facts={"waiting": 3, "outboxed": 2, "in_memory": 7, "lost": 1})
