"""The bench of usage events runs: a moment of each kind of case. Nothing is said about time."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from bench import collecting, publishing, usage
from chargeback.prices import Prices
from local.eventhubs.server import serve


async def test_collecting(azurite: str) -> None:
    """Both stores collect what they are given, with and without detail rows and intents, and the table shows it."""
    prices = Prices()
    cases = [case for case in collecting.CASES if case.batch == 100]
    samples = [await collecting.collect(case, azurite, 0.01, prices) for case in cases]
    assert all(min(each.rate, each.cpu_us, each.held_ms) > 0 for each in samples)
    console = Console(record=True, width=120)
    console.print(usage.collecting_table([*samples, *(larger(each) for each in samples)]))
    assert console.export_text().count("Azurite") == 8
    assert 0 < collecting.fold_us(prices) < 1000


def larger(sample: collecting.Sample) -> collecting.Sample:
    case = collecting.Case(sample.case.store, 1000, sample.case.details, sample.case.intents)
    return collecting.Sample(case, sample.rate, sample.cpu_us, sample.held_ms)


async def test_publishing(tmp_path: Path) -> None:
    """Events of many callers are acknowledged by the stand-in, each within a time that is known."""
    async with serve(tmp_path, {"usage": 4}) as stand_in:
        sample = await publishing.publish(stand_in.connection_string, 64, 0.2)
    assert 0 < sample.p50 <= sample.p99
    assert stand_in.broker.counts.events_in > 1000
    console = Console(record=True, width=120)
    console.print(usage.publishing_table([publishing.Sample(each, 1, 1, 1, 1) for each in publishing.CALLERS]))
    assert "512" in console.export_text()


def test_all_samples_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file names the machine and each case."""
    monkeypatch.setattr(usage, "RESULTS", tmp_path / "results")
    sample = collecting.Sample(collecting.CASES[0], 1.0, 2.0, 3.0)
    assert '"details": false' in usage.write([sample], [], datetime(2026, 1, 2, tzinfo=UTC)).read_text()
