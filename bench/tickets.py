"""`python -m bench.tickets`: what a ticket costs Tollgate itself, and how many jobs a second it gets through.

The model's answers come from memory at once, so that all that is measured is our own: reading the ticket, hiding
personal data, building and reading the questions, and the gateway that each question goes through, with its metering
and its collector. Tollgate has one core to itself.
"""

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Final

import httpx2
import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench.figures import FaultyRun
from bench.generator import Load, Tally
from bench.processes import PROC, Measured, NotStarted, cores, running
from bench.report import machine
from bench.targets import Target, tollgate
from bench.ticket_upstream import MODELS
from local.events.events import LocalStreams

RESULTS: Final = Path(__file__).parent / "results"
SAMPLES: Final = Path(__file__).parents[1] / "local" / "demo" / "tickets"
ALL_TASKS: Final = (
    "summary", "classification", "sentiment", "entities", "next_steps", "similar", "resolution_notes",
    "knowledge_article", "reply",
)  # fmt: skip
WARM_SECONDS: Final = 1.0
JOB_SECONDS: Final = 120.0
POLL_SECONDS: Final = 0.05
HUB: Final = "jobs"


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str
    title: str
    callers: int
    sample: str
    tasks: tuple[str, ...]

    def body(self) -> dict[str, Any]:
        """Return the request. Without `sys_id` no ticket is taken for one that came before."""
        request: dict[str, Any] = json.loads((SAMPLES / f"{self.sample}.json").read_text())
        ticket = {name: value for name, value in request["ticket"].items() if name != "sys_id"}
        return request | {"ticket": ticket, "tasks": list(self.tasks), "mode": "sync"}


SCENARIOS: Final = (
    Scenario("classify-1", "classification, 1 caller", 1, "vpn-drops", ("classification",)),
    Scenario("classify-16", "classification, 16 callers", 16, "vpn-drops", ("classification",)),
    Scenario("all-8", "all nine tasks, 8 callers", 8, "vpn-drops", ALL_TASKS),
    Scenario(
        "long-4",
        "summary and classification, 300 entries condensed before, 4 callers",
        4,
        "three-hundred-entries",
        ALL_TASKS[:2],
    ),
)


class Sample(msgspec.Struct, frozen=True):
    """One scenario in one round; times in milliseconds. `rate` is tickets per second."""

    scenario: str
    rate: float
    p50: float
    p99: float
    cpu: float


class JobSample(msgspec.Struct, frozen=True):
    """`seconds` from the first event in the hub to the last result; `cpu` in milliseconds per job."""

    jobs: int
    seconds: float
    cpu: float

    @property
    def rate(self) -> float:
        return self.jobs / self.seconds


@dataclass(frozen=True, slots=True)
class Bench:
    target: Target
    generator: Measured
    state: Path


@contextlib.contextmanager
def started(folder: Path) -> Iterator[Bench]:
    """Start the look-alike, the load generator and Tollgate. Raises NotStarted."""
    measured_core, load_core = cores()
    environment = {"ENRICHMENT_DEPLOYMENT": "gpt-4o-mini", "JOBS_TRUSTED_PRODUCERS": "1"}
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(running([sys.executable, "-m", "bench.ticket_upstream"], core=load_core))
        assert upstream.process.stdout is not None
        ports = [int(port) for port in upstream.process.stdout.readline().split()]
        generator = stack.enter_context(running([sys.executable, "-m", "bench.generator"], core=load_core))
        target = stack.enter_context(tollgate(ports, folder, measured_core, models=tuple(MODELS), settings=environment))
        yield Bench(target, generator, folder / "state")


def take(bench: Bench, scenario: Scenario, seconds: float) -> Sample:
    """Measure once. Raises FaultyRun where a ticket was not answered."""
    target, measured = bench.target, bench.target.measured
    assert measured is not None
    load = Load(target.port, request(target, scenario), scenario.callers, seconds, streamed=False)
    before = measured.cpu_seconds()
    tally = msgspec.json.decode(bench.generator.ask(msgspec.json.encode(load).decode()), type=Tally)
    used = measured.cpu_seconds() - before
    if tally.faults or not tally.requests:
        raise FaultyRun(f"{scenario.title}: {tally.faults} faults, the first: {tally.fault}")
    return Sample(
        scenario.name,
        tally.requests / tally.seconds,
        tally.p50 / 1e3,
        tally.p99 / 1e3,
        used / tally.answers * 1e3,
    )


def request(target: Target, scenario: Scenario) -> str:
    """Return the whole HTTP request, ASCII."""
    body = json.dumps(scenario.body())
    headers = {
        "Host": f"127.0.0.1:{target.port}",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **target.headers,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST /enrich HTTP/1.1\r\n{lines}\r\n{body}"


def check(bench: Bench, scenario: Scenario) -> None:
    """Ask once and look at the answer: a failed task would be cheap, and measured all the same. Raises FaultyRun."""
    url = f"http://127.0.0.1:{bench.target.port}/enrich"
    answer = httpx2.post(url, json=scenario.body(), headers=dict(bench.target.headers), timeout=60)
    failed = [task for task in answer.json().get("tasks", ()) if task["status"] != "succeeded"]
    if answer.status_code != httpx2.codes.OK or failed:
        raise FaultyRun(f"{scenario.title}: {answer.status_code} {failed or answer.text[:300]}")


async def take_jobs(bench: Bench, count: int, name: str) -> JobSample:
    """Put jobs into the hub as an internal producer does, and wait for their results. Raises FaultyRun."""
    measured = bench.target.measured
    assert measured is not None
    body = {**SCENARIOS[1].body(), "subscription": "bench"}
    ids = [f"{name}-{number}" for number in range(count)]
    streams = LocalStreams(bench.state)
    url = f"http://127.0.0.1:{bench.target.port}"
    async with httpx2.AsyncClient(base_url=url, headers=dict(bench.target.headers), timeout=30) as client:
        stream = streams.stream(HUB)
        before, began = measured.cpu_seconds(), time.monotonic()
        for each in ids:
            await stream.publish([json.dumps({**body, "id": each}).encode()], each)
        for each in reversed(ids):
            await _succeeded(client, each, began + JOB_SECONDS)
        sample = JobSample(count, time.monotonic() - began, (measured.cpu_seconds() - before) / count * 1e3)
        await stream.close()
    return sample


async def _succeeded(client: httpx2.AsyncClient, job: str, until: float) -> None:
    status = "missing"
    while time.monotonic() < until:
        answer = await client.get(f"/jobs/{job}")
        status = answer.json().get("status", status) if answer.status_code == httpx2.codes.OK else status
        if status == "succeeded":
            return
        if status == "failed":
            break
        await asyncio.sleep(POLL_SECONDS)
    raise FaultyRun(f"The job {job} is {status}.")


def run(options: argparse.Namespace, console: Console) -> None:
    samples: list[Sample] = []
    with tempfile.TemporaryDirectory(prefix="tollgate-bench-") as folder, started(Path(folder)) as bench:
        for scenario in SCENARIOS:
            check(bench, scenario)
            take(bench, scenario, WARM_SECONDS)
        for _ in range(options.rounds):
            samples += [take(bench, scenario, options.seconds) for scenario in SCENARIOS]
        jobs = [asyncio.run(take_jobs(bench, options.jobs, f"round-{number}")) for number in range(options.rounds)]
    console.print(tickets_table(samples))
    console.print(
        f"Jobs, classification, from the hub to the result: {median(each.rate for each in jobs):.0f} a second, "
        f"{median(each.cpu for each in jobs):.1f} ms CPU each."
    )
    console.print("Medians over the rounds; Tollgate has one core, the model answers at once.", style="dim")
    console.print(f"All samples: {write(samples, jobs, datetime.now(UTC))}")


def tickets_table(samples: Sequence[Sample]) -> Table:
    table = Table(title="Tickets", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("POST /enrich")
    for heading in ("tickets/s", "p50 ms", "p99 ms", "CPU ms/ticket"):
        table.add_column(heading, justify="right")
    for scenario in SCENARIOS:
        own = [each for each in samples if each.scenario == scenario.name]
        figures = [median(getattr(each, name) for each in own) for name in ("rate", "p50", "p99", "cpu")]
        table.add_row(scenario.title, *(f"{figure:,.1f}" for figure in figures))
    return table


def write(samples: Sequence[Sample], jobs: Sequence[JobSample], now: datetime) -> Path:
    RESULTS.mkdir(parents=True, exist_ok=True)
    file = RESULTS / f"tickets-{now:%Y%m%dT%H%M%SZ}.json"
    body = {
        "time": now.isoformat(),
        "machine": machine(),
        "scenarios": [asdict(scenario) for scenario in SCENARIOS],
        "samples": msgspec.to_builtins(list(samples)),
        "jobs": msgspec.to_builtins(list(jobs)),
    }
    file.write_text(json.dumps(body, indent=1) + "\n")
    return file


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.tickets", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="rounds of all scenarios (default 3)")
    parser.add_argument("--seconds", type=float, default=1.5, help="seconds per scenario (default 1.5)")
    parser.add_argument("--jobs", type=int, default=100, help="jobs per round (default 100)")
    options = parser.parse_args()
    console = Console()
    if not (PROC / "self" / "schedstat").exists():
        console.print("The bench reads CPU times from /proc/<pid>/schedstat, which this system does not have.")
        return 2
    try:
        run(options, console)
    except (NotStarted, FaultyRun) as error:
        console.print(f"{type(error).__name__}: {error}", style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
