"""The harness runs: one short round against the look-alike itself. Nothing is said about time."""

import json
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from bench.__main__ import arguments, measure
from bench.aims import Aim, aims
from bench.figures import FaultyRun, Sample, rows, take
from bench.generator import Load, Tally, quantile
from bench.processes import PROC, Measured, running
from bench.report import Findings, print_findings, write
from bench.scenarios import CHUNK_BYTES, PACED_CHUNKS, PACED_GAP_SECONDS, SCENARIOS
from bench.targets import Target, catalog, upstream
from bench.upstream import JSON_ANSWER, STREAM_ANSWER
from gateway.catalog.catalog_file import load_catalog

pytestmark = pytest.mark.skipif(not (PROC / "self" / "schedstat").exists(), reason="CPU times come from Linux's /proc")


@pytest.fixture
def look_alike() -> Iterator[tuple[list[Target], Measured]]:
    """The look-alike under two names, one of them with its processes measured, and the generator."""
    with upstream(None) as ports, running_generator() as generator:
        yield [Target("direct", ports[0]), Target("tollgate", ports[1], generator)], generator


def running_generator() -> AbstractContextManager[Measured]:
    return running([sys.executable, "-m", "bench.generator"], core=None)


def test_one_round(look_alike: tuple[list[Target], Measured], tmp_path: Path) -> None:
    """Every scenario yields whole answers, a row per target with ratios, a table and a file."""
    targets, generator = look_alike
    scenarios = [replace(each, callers=min(each.callers, 4)) for each in SCENARIOS if not each.paced]
    samples = list(measure(targets, generator, scenarios, rounds=1, seconds=0.3))
    for scenario in scenarios:
        direct, measured = rows(samples, scenario.name)
        assert direct.cpu_us is None
        assert direct.added_p50 is None
        assert measured.cpu_us is not None
        assert measured.cpu_us > 0
        assert measured.headroom is not None
        assert measured.rate_to_nginx is None
    findings = Findings(samples, scenarios, {"tollgate": 1.0}, aims(samples, 30.0, None))
    console = Console(record=True, width=160)
    print_findings(console, findings)
    text = console.export_text()
    assert all(scenario.title in text for scenario in scenarios)
    file = write(tmp_path / "results", findings, datetime(2026, 1, 2, tzinfo=UTC))
    assert len(json.loads(file.read_text())["samples"]) == 2 * len(scenarios)


def test_wrong_answers_are_faults(look_alike: tuple[list[Target], Measured]) -> None:
    """A stream that was asked for and not given is a fault that says so."""
    (direct, _), generator = look_alike
    load = Load(direct.port, direct.request(SCENARIOS[0]), callers=1, seconds=0.1, streamed=True)
    tally = msgspec.json.decode(generator.ask(msgspec.json.encode(load).decode()), type=Tally)
    assert tally.fault == "a stream was asked for, and what came did not end with [DONE]"


def test_paced_streams(look_alike: tuple[list[Target], Measured]) -> None:
    """A paced stream takes its time, and its first chunk does not."""
    (direct, _), generator = look_alike
    tally = take(generator, direct, replace(SCENARIOS[3], callers=2), 0.1, 1).tally
    assert tally.p50 / 1e6 < PACED_CHUNKS * PACED_GAP_SECONDS / 2
    assert tally.seconds > PACED_CHUNKS * PACED_GAP_SECONDS


def test_refused_connection_ends_the_run() -> None:
    """A target that does not listen is told."""
    with running_generator() as generator, pytest.raises(FaultyRun, match="cannot connect"):
        take(generator, Target("nobody", 9), SCENARIOS[0], 0.1, 1)


def test_ratios_are_taken_within_a_round() -> None:
    """Two rounds at different speeds of the machine give the ratio that both agree on."""

    def sample(target: str, number: int, requests: int, cpu: float | None) -> Sample:
        return Sample("json-1", target, number, Tally(requests, 1.0, p50=1e6 / requests), cpu)

    found = rows(
        [
            *(sample("direct", number, 1000 * number, None) for number in (1, 2)),
            *(sample("nginx", number, 500 * number, 20.0 / number) for number in (1, 2)),
            *(sample("tollgate", number, 100 * number, 80.0 / number) for number in (1, 2)),
        ],
        "json-1",
    )
    assert [row.target for row in found] == ["direct", "nginx", "tollgate"]
    assert (found[2].rate_to_nginx, found[2].cpu_to_nginx, found[2].headroom) == (0.2, 4.0, 10.0)
    assert found[2].added_p50_to_nginx == pytest.approx(9)


def test_aims() -> None:
    """An aim is met, missed or not measured; what was not asked for counts as not measured."""
    assert Aim("at least", 0.2, 0.25, at_least=True).met is False
    assert Aim("at most", 0.2, 0.25).met is True
    assert [each.met for each in aims([], None, 1.4)] == [None, None, None, None, None, True]


def test_first_answers_do_not_count(look_alike: tuple[list[Target], Measured]) -> None:
    """Each caller has had an answer before the time counts, and CPU time is counted by all answers."""
    (direct, _), generator = look_alike
    tally = take(generator, direct, replace(SCENARIOS[0], callers=3), 0.1, 1).tally
    assert tally.before == 3
    assert tally.answers == 3 + tally.requests


def test_quantile() -> None:
    """A quantile is a value that was measured, in microseconds."""
    assert quantile([0.003, 0.001, 0.002], 0.5) == 2000
    assert quantile([0.001], 0.99) == 1000
    assert quantile([], 0.5) == 0


def test_answers_of_the_look_alike() -> None:
    """The prepared answers have the sizes that the figures speak of."""
    assert 1300 < len(JSON_ANSWER.partition(b"\r\n\r\n")[2]) < 1700
    assert all(len(chunk) == CHUNK_BYTES + len(b"12c\r\n\r\n") for chunk in STREAM_ANSWER[1:-1])
    assert len(STREAM_ANSWER) == 50


def test_catalog_is_valid() -> None:
    """The product accepts the catalog that the harness starts it with."""
    loaded = load_catalog(json.dumps(catalog([8001, 8002], "key", ["gpt-4o"])), lambda _: "the look-alike's key")
    assert set(loaded.backends) == {"look-alike-1", "look-alike-2"}


def test_arguments() -> None:
    """Without arguments all of it is measured; --only may be repeated."""
    assert arguments([]).only is None
    assert arguments(["--only", "json-1", "--only", "sse-16"]).only == ["json-1", "sse-16"]
