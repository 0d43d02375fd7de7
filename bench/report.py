"""The table on the screen and the JSON file of a run."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench.figures import Row, Sample, rows
from bench.scenarios import Scenario

HEADROOM = 1.5
LEGEND = (
    "Times in µs, medians over the rounds. +p50: more than the direct call. CPU: of the target's whole process tree. "
    "rate/nginx, CPU/nginx: ratios within a round. direct/rate: how much faster the direct calls were."
)


def print_tables(console: Console, samples: Sequence[Sample], scenarios: Sequence[Scenario]) -> None:
    for scenario in scenarios:
        found = rows(samples, scenario.name)
        console.print(_table(scenario, found))
        bound = [row.target for row in found if row.headroom is not None and row.headroom < HEADROOM]
        if bound and not scenario.paced:
            console.print(
                f"  {' and '.join(bound)}: within {HEADROOM}x of the direct calls, so the load was near its own limit; "
                "go by CPU, not by rate.",
                style="yellow",
            )
    console.print(LEGEND, style="dim")


def _table(scenario: Scenario, found: Sequence[Row]) -> Table:
    table = Table(title=scenario.title, title_justify="left", box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    table.add_column("target")
    timed = ("first\np50", "first\np99", "+p50") if scenario.streamed else ("p50", "p99", "+p50")
    rate = "streams/s" if scenario.streamed else "req/s"
    for column in (rate, *timed, f"CPU\n/{scenario.unit}", "rate\n/nginx", "CPU\n/nginx", "direct\n/rate"):
        table.add_column(column, justify="right")
    for row in found:
        table.add_row(*_cells(row, scenario))
    return table


def print_memory(console: Console, memory: Mapping[str, float]) -> None:
    console.print("Memory after the run: " + ", ".join(f"{name} {size:.0f} MB" for name, size in memory.items()))


def write(
    folder: Path, samples: Sequence[Sample], scenarios: Sequence[Scenario], memory: Mapping[str, float], now: datetime
) -> Path:
    """Write the medians and all samples; returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{now:%Y%m%dT%H%M%SZ}.json"
    body = {
        "time": now.isoformat(),
        "machine": machine(),
        "medians": {each.name: [asdict(row) for row in rows(samples, each.name)] for each in scenarios},
        "memory_megabytes": dict(memory),
        "samples": msgspec.to_builtins(list(samples)),
    }
    file.write_text(json.dumps(body, indent=1) + "\n")
    return file


def machine() -> dict[str, object]:
    """Return what a reader must know of the machine to compare figures."""
    return {"cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()}


def _cells(row: Row, scenario: Scenario) -> list[str]:
    times = (
        (row.first_p50, row.first_p99, row.added_first_p50) if scenario.streamed else (row.p50, row.p99, row.added_p50)
    )
    return [
        row.target,
        _number(row.rate, 0),
        *(_number(each, 0) for each in times),
        _number(row.cpu_us, 1),
        _number(row.rate_to_nginx, 2),
        _number(row.cpu_to_nginx, 2),
        _number(None if scenario.paced else row.headroom, 1),
    ]


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"
