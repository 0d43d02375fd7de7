"""The table on the screen and the JSON file of a run."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench.aims import Aim
from bench.figures import Row, Sample, rows
from bench.scenarios import Scenario

HEADROOM = 1.5
LEGEND = (
    "Times in µs, medians over the rounds. +p50: more than the direct call. CPU: of the target's whole process tree. "
    "/nginx: ratios within a round, to the same figure of nginx."
)


@dataclass(frozen=True, slots=True)
class Findings:
    """What came of a run; `memory` is in MB, by target."""

    samples: Sequence[Sample]
    scenarios: Sequence[Scenario]
    memory: Mapping[str, float]
    aims: Sequence[Aim]


def print_findings(console: Console, findings: Findings) -> None:
    _print_scenarios(console, findings)
    console.print("Memory after the run: " + ", ".join(f"{name} {mb:.0f} MB" for name, mb in findings.memory.items()))
    _print_aims(console, findings.aims)


def _print_scenarios(console: Console, findings: Findings) -> None:
    for scenario in findings.scenarios:
        found = rows(findings.samples, scenario.name)
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
    timed = ("first\np50", "first\np99") if scenario.streamed else ("p50", "p99")
    rate = "streams/s" if scenario.streamed else "req/s"
    to_nginx = ("rate\n/nginx", "CPU\n/nginx", "+p50\n/nginx")
    for column in (rate, *timed, "+p50", f"CPU\n/{scenario.unit}", *to_nginx):
        table.add_column(column, justify="right")
    for row in found:
        table.add_row(*_cells(row))
    return table


def _print_aims(console: Console, aims: Sequence[Aim]) -> None:
    table = Table(title="Aims", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    table.add_column("tollgate", justify="right")
    table.add_column("aim", justify="right")
    for aim in aims:
        words = {None: "not measured", True: "", False: " missed"}[aim.met]
        bound = f"{'at least' if aim.at_least else 'at most'} {aim.bound:,g}"
        table.add_row(aim.title, _number(aim.found, 2) + words, bound)
    console.print(table)


def write(folder: Path, findings: Findings, now: datetime) -> Path:
    """Write the medians, the aims and all samples; returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{now:%Y%m%dT%H%M%SZ}.json"
    body = {
        "time": now.isoformat(),
        "machine": machine(),
        "medians": {
            each.name: [asdict(row) for row in rows(findings.samples, each.name)] for each in findings.scenarios
        },
        "memory_megabytes": dict(findings.memory),
        "aims": [asdict(aim) for aim in findings.aims],
        "samples": msgspec.to_builtins(list(findings.samples)),
    }
    file.write_text(json.dumps(body, indent=1) + "\n")
    return file


def machine() -> dict[str, object]:
    """Return what a reader must know of the machine to compare figures."""
    return {"cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()}


def _cells(row: Row) -> list[str]:
    return [
        row.target,
        _number(row.rate, 0),
        *(_number(each, 0) for each in (row.p50, row.p99, row.added_p50)),
        _number(row.cpu_us, 1),
        _number(row.rate_to_nginx, 2),
        *(_number(each, 1) for each in (row.cpu_to_nginx, row.added_p50_to_nginx)),
    ]


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"
