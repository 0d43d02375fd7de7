"""The table on the screen and the JSON file of a run."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from bench.figures import Row, Sample, rows
from bench.scenarios import Scenario

COLUMNS = (
    "target",
    "rate /s",
    "p50 µs",
    "p99 µs",
    "added p50 µs",
    "first chunk p50 µs",
    "added µs",
    "CPU µs per unit",
    "rate : nginx",
    "CPU : nginx",
    "direct : rate",
)
HEADROOM = 1.5


def print_tables(console: Console, samples: Sequence[Sample], scenarios: Sequence[Scenario]) -> None:
    for scenario in scenarios:
        table = Table(title=f"{scenario.title} (CPU per {scenario.unit})", title_justify="left")
        for number, column in enumerate(COLUMNS):
            table.add_column(column, justify="right" if number else "left")
        found = rows(samples, scenario.name)
        for row in found:
            table.add_row(*_cells(row, scenario))
        console.print(table)
        bound = [row.target for row in found if row.headroom is not None and row.headroom < HEADROOM]
        if bound and not scenario.paced:
            console.print(
                f"  {' and '.join(bound)}: within {HEADROOM}x of the direct calls, so the load was near its own limit: "
                "go by CPU, not by rate.",
                style="yellow",
            )


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
        "machine": {"cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()},
        "medians": {each.name: [asdict(row) for row in rows(samples, each.name)] for each in scenarios},
        "memory_megabytes": dict(memory),
        "samples": msgspec.to_builtins(list(samples)),
    }
    file.write_text(json.dumps(body, indent=1) + "\n")
    return file


def _cells(row: Row, scenario: Scenario) -> list[str]:
    return [
        row.target,
        f"{row.rate:,.0f}",
        f"{row.p50:,.0f}",
        f"{row.p99:,.0f}",
        _number(row.added_p50, 0),
        _number(row.first_p50 if scenario.streamed else None, 0),
        _number(row.added_first_p50 if scenario.streamed else None, 0),
        _number(row.cpu_us, 1),
        _number(row.rate_to_nginx, 2),
        _number(row.cpu_to_nginx, 2),
        _number(None if scenario.paced else row.headroom, 2),
    ]


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"
