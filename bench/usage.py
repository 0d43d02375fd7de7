"""`python -m bench.usage`: what a usage event costs on its way from a call to the ledger.

Collecting: events per second and our own CPU time for one, at batches of 100 and 1,000, with and without detail rows
and intents, into Azurite and into memory. Publishing: through azure-eventhub to the stand-in for Event Hubs. What is
measured has one core to itself; Azurite and the stand-in share the other.
"""

import argparse
import asyncio
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final

import msgspec
import uvloop
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench import collecting, publishing
from bench.processes import NotStarted, cores, free_port, running, wait_for_port
from bench.report import machine
from chargeback.prices import Prices
from hosting.functions.garbage import spare_what_stays
from local.eventhubs.server import connection_string

RESULTS: Final = Path(__file__).parent / "results"
AZURITE: Final = Path(__file__).parents[1] / ".local" / "azurite" / "node_modules" / ".bin" / "azurite-table"
AZURITE_KEY: Final = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Every Azurite's, and no secret."""


@contextlib.contextmanager
def azurite(folder: Path, core: int | None) -> Iterator[str]:
    """Run Azurite's Table service; yields its connection string. Raises NotStarted."""
    if not AZURITE.exists():
        raise NotStarted("Azurite is not installed: run tests/install_azurite")
    port, log = free_port(), folder / "azurite.log"
    flags = ("--silent", "--disableTelemetry", "--skipApiVersionCheck", "--inMemoryPersistence")
    command = [str(AZURITE), *flags, "--tableHost", "127.0.0.1", "--tablePort", str(port)]
    with running(command, core=core, log=log) as measured:
        wait_for_port(measured, log, port)
        yield (
            f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={AZURITE_KEY};"
            f"TableEndpoint=http://127.0.0.1:{port}/devstoreaccount1;"
        )


@contextlib.contextmanager
def event_hub(folder: Path, core: int | None) -> Iterator[str]:
    """Run the stand-in for Event Hubs; yields its connection string."""
    command = [sys.executable, "-m", "local.eventhubs", "--folder", str(folder), "--hub", "usage:4"]
    with running(command, core=core) as measured:
        assert measured.process.stdout is not None
        yield connection_string(int(json.loads(measured.process.stdout.readline())["port"]))


async def measure(
    azurite: str, hub: str, rounds: int, seconds: float
) -> tuple[list[collecting.Sample], list[publishing.Sample]]:
    prices = Prices()
    collected, published = [], []
    for _ in range(rounds):
        collected += [await collecting.collect(case, azurite, seconds, prices) for case in collecting.CASES]
        published += [await publishing.publish(hub, callers, seconds) for callers in publishing.CALLERS]
    return collected, published


def collecting_table(samples: Sequence[collecting.Sample]) -> Table:
    table = Table(title="Collecting", title_justify="left", box=SIMPLE_HEAD)
    for heading in ("tables", "batch", "detail rows", "intents"):
        table.add_column(heading)
    for heading in ("events/s", "CPU µs/event", "loop held ms"):
        table.add_column(heading, justify="right")
    for case in collecting.CASES:
        own = [each for each in samples if each.case == case]
        words = (case.store, f"{case.batch:,}", "yes" if case.details else "no", "yes" if case.intents else "no")
        rate, cpu, held = (median(getattr(each, name) for each in own) for name in ("rate", "cpu_us", "held_ms"))
        table.add_row(*words, f"{rate:,.0f}", f"{cpu:,.1f}", f"{held:,.1f}")
    return table


def publishing_table(samples: Sequence[publishing.Sample]) -> Table:
    table = Table(title="Publishing", title_justify="left", box=SIMPLE_HEAD)
    for heading in ("calls at once", "events/s", "p50 ms", "p99 ms", "CPU µs/event"):
        table.add_column(heading, justify="right")
    for callers in publishing.CALLERS:
        own = [each for each in samples if each.callers == callers]
        rate, p50, p99, cpu = (median(getattr(each, name) for each in own) for name in ("rate", "p50", "p99", "cpu_us"))
        table.add_row(f"{callers}", f"{rate:,.0f}", f"{p50:,.1f}", f"{p99:,.1f}", f"{cpu:,.0f}")
    return table


def write(collected: Sequence[collecting.Sample], published: Sequence[publishing.Sample], now: datetime) -> Path:
    """Write all samples; returns the file."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    file = RESULTS / f"usage-{now:%Y%m%dT%H%M%SZ}.json"
    body = {
        "time": now.isoformat(),
        "machine": machine(),
        "collecting": msgspec.to_builtins(list(collected)),
        "publishing": msgspec.to_builtins(list(published)),
    }
    file.write_text(json.dumps(body, indent=1) + "\n")
    return file


def run(options: argparse.Namespace, console: Console) -> None:
    measured_core, load_core = cores()
    with (
        tempfile.TemporaryDirectory(prefix="tollgate-bench-") as folder,
        azurite(Path(folder), load_core) as tables,
        event_hub(Path(folder), load_core) as hub,
    ):
        if measured_core is not None:
            os.sched_setaffinity(0, {measured_core})
        spare_what_stays()  # as the app does
        fold = min(collecting.fold_us(Prices()) for _ in range(options.rounds))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            collected, published = runner.run(measure(tables, hub, options.rounds, options.seconds))
    console.print(collecting_table(collected))
    console.print(f"The fold alone: {fold:.1f} µs an event.")
    console.print(publishing_table(published))
    console.print("Medians over the rounds. CPU is our own process's, not that of Azurite or the hub.", style="dim")
    console.print(f"All samples: {write(collected, published, datetime.now(UTC))}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.usage", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="rounds of all cases (default 3)")
    parser.add_argument("--seconds", type=float, default=0.5, help="seconds per case (default 0.5)")
    options = parser.parse_args()
    console = Console()
    try:
        run(options, console)
    except NotStarted as error:
        console.print(f"NotStarted: {error}", style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
