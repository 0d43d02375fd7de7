"""The tickets' bench runs: one short round of all that it measures. Nothing is said about time."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from bench import tickets
from bench.figures import FaultyRun
from bench.processes import PROC

pytestmark = pytest.mark.skipif(not (PROC / "self" / "schedstat").exists(), reason="CPU times come from Linux's /proc")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tickets.Bench]:
    with tickets.started(tmp_path_factory.mktemp("bench")) as bench:
        yield bench


def test_one_round(bench: tickets.Bench) -> None:
    """Every scenario is answered whole, costs time, and stands in the table."""
    samples = []
    for scenario in tickets.SCENARIOS:
        tickets.check(bench, scenario)
        samples.append(tickets.take(bench, scenario, 0.3))
    assert all(min(each.rate, each.p50, each.cpu) > 0 for each in samples)
    console = Console(record=True, width=160)
    console.print(tickets.tickets_table(samples))
    assert all(scenario.title in console.export_text(clear=False) for scenario in tickets.SCENARIOS)


def test_jobs_come_through(bench: tickets.Bench) -> None:
    """Jobs that were put into the hub end with results, and a failing one is no figure."""
    sample = asyncio.run(tickets.take_jobs(bench, 5, "first"))
    assert sample.jobs == 5
    assert sample.rate > 0
    assert sample.cpu > 0


def test_what_fails_is_told(bench: tickets.Bench) -> None:
    """A ticket that is refused stops the run, and says why."""
    unknown = tickets.Scenario("x", "an unknown task", 1, "vpn-drops", ("astrology",))
    with pytest.raises(FaultyRun, match="an unknown task: 422"):
        tickets.check(bench, unknown)


def test_all_samples_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file names the machine and what was asked."""
    monkeypatch.setattr(tickets, "RESULTS", tmp_path / "results")
    file = tickets.write([], [tickets.JobSample(4, 2.0, 1.0)], datetime(2026, 1, 2, tzinfo=UTC))
    assert '"classification, 16 callers"' in file.read_text()
    assert tickets.JobSample(4, 2.0, 1.0).rate == 2.0
