"""`python -m bench`: measure Tollgate beside the same calls made directly and through nginx."""

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import Progress

from bench.aims import aims
from bench.figures import FaultyRun, Sample, take
from bench.imports import import_ratio
from bench.processes import PROC, Measured, NotStarted, cores, running
from bench.report import Findings, print_findings, write
from bench.scenarios import OPEN_STREAMS, SCENARIOS, Scenario
from bench.targets import TOLLGATE, Target, nginx, nginx_program, tollgate, upstream

NO_LEDGER: Final = {"AzureWebJobs.collect_usage.Disabled": "true"}
"""As on the instances of Azure Functions that serve calls: usage events are collected by others."""

RESULTS: Final = Path(__file__).parent / "results"
WARM_SECONDS: Final = 0.5
EXAMPLES: Final = """\
examples:
  python -m bench                                   all but bench.tickets and bench.usage, in three minutes
  python -m bench --only json-16 --rounds 9         one scenario, more rounds for a steadier median
  python -m bench --only sse-16 --only paced-256    what streams cost
  python -m bench --json - --only json-1            the file's content on stdout as well

The targets take turns inside each round, and ratios are taken within a round. With two cores, what is measured has the
first to itself; the upstream and the load generator share the second. "tollgate" is an instance that serves calls, as
on Azure; "all in one" is `make run`, which collects usage in the same process."""


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds, each with every target (default 5)")
    parser.add_argument("--seconds", type=float, default=1.0, help="seconds per target and scenario (default 1)")
    parser.add_argument(
        "--only", action="append", choices=[each.name for each in SCENARIOS], help="a scenario; may be repeated"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FOLDER", default=RESULTS, help="where the JSON file goes; - is stdout"
    )
    return parser.parse_args(given)


@contextlib.contextmanager
def targets(console: Console, folder: Path) -> Iterator[tuple[list[Target], Measured]]:
    """Start everything; yields what is to be measured and the load generator."""
    measured_core, load_core = cores()
    if load_core is None:
        console.print("One core only: load and targets share it, and rates mean little.", style="yellow")
    with contextlib.ExitStack() as stack:
        ports = stack.enter_context(upstream(load_core))
        generator = stack.enter_context(running([sys.executable, "-m", "bench.generator"], core=load_core))
        found = [Target("direct", ports[0])]
        program = nginx_program()
        if program:
            found.append(stack.enter_context(nginx(program, ports, folder, measured_core)))
        else:
            console.print(
                "No nginx on this machine: its column stays empty (apt-get install nginx-light).", style="yellow"
            )
        found.append(stack.enter_context(tollgate(ports, folder / "alone", measured_core, settings=NO_LEDGER)))
        found.append(stack.enter_context(tollgate(ports, folder / "all", measured_core, name="all in one")))
        yield found, generator


def warm(found: Sequence[Target], generator: Measured, scenarios: Sequence[Scenario], seconds: float) -> None:
    """Have every target do each scenario once."""
    for scenario in scenarios:
        for target in found:
            take(generator, target, scenario, seconds, 0)


def measure(
    found: Sequence[Target], generator: Measured, scenarios: Sequence[Scenario], rounds: int, seconds: float
) -> Iterator[Sample]:
    """Yield a sample per round, scenario and target."""
    for number in range(1, rounds + 1):
        for scenario in scenarios:
            for target in found:
                yield take(generator, target, scenario, seconds, number)


def open_streams_megabytes(found: Sequence[Target], generator: Measured) -> float | None:
    """Return by how much 1,000 open streams raise the memory of a Tollgate that has not had as many before."""
    target = next(each for each in found if each.name == TOLLGATE)
    assert target.measured is not None
    before = target.measured.memory_megabytes()
    take(generator, target, OPEN_STREAMS, WARM_SECONDS, 0)
    return target.measured.peak_megabytes() - before


def run(options: argparse.Namespace, console: Console) -> None:
    scenarios = [each for each in SCENARIOS if not options.only or each.name in options.only]
    samples: list[Sample] = []
    with (
        tempfile.TemporaryDirectory(prefix="tollgate-bench-") as folder,
        targets(console, Path(folder)) as (found, generator),
        Progress(console=console, transient=True) as progress,
    ):
        task = progress.add_task("measuring", total=options.rounds * len(scenarios) * len(found))
        warm(found, generator, scenarios, min(WARM_SECONDS, options.seconds))
        streams = None if options.only else open_streams_megabytes(found, generator)
        for sample in measure(found, generator, scenarios, options.rounds, options.seconds):
            samples.append(sample)
            progress.advance(task)
        memory = {each.name: each.measured.memory_megabytes() for each in found if each.measured}
    held = aims(samples, streams, None if options.only else import_ratio(options.rounds))
    findings = Findings(samples, scenarios, memory, held)
    print_findings(console, findings)
    file = write(RESULTS if options.json == Path("-") else options.json, findings, datetime.now(UTC))
    console.print(f"All samples: {file}")
    if options.json == Path("-"):
        print(file.read_text())


def main() -> int:
    options = arguments()
    console = Console(stderr=options.json == Path("-"))
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
