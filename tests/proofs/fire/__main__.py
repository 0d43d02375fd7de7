"""Set the ledger under fire: producers, a hub and rival collectors over Azurite, killed by SIGKILL at random.

Afterwards every subscription's rollups must equal the sum of the distinct events that were published, meter by meter.
Exit code 0: they do; 1: they do not, and what is wrong is listed. `--forgetful` is the control: a ledger that knows
neither sequence numbers nor ids must fail.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.azurite import PROGRAM, running_azurite
from tests.proofs.fire.fire import Conditions, Outcome, burn

EXAMPLES = """\
examples:
  make soak                                     200 kills, on an Azurite of its own
  python -m tests.proofs.fire --kills 25        what CI runs
  python -m tests.proofs.fire --kills 3 --forgetful"""


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.proofs.fire",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--seed", type=int, default=20261121)
    parser.add_argument("--forgetful", action="store_true", help="the control: it must fail")
    parser.add_argument("--azurite", metavar="CONNECTION", help="a running Table service; else one is started")
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON, too")
    return parser.parse_args(given)


@contextlib.contextmanager
def tables(options: argparse.Namespace, folder: Path) -> Iterator[str]:
    if options.azurite:
        yield options.azurite
    else:
        with running_azurite(folder) as connection_string:
            yield connection_string


@dataclass(frozen=True)
class Kills:
    """Shows each kill as it happens."""

    progress: Progress

    def run(self, conditions: Conditions) -> Outcome:
        task = self.progress.add_task("SIGKILLs", total=conditions.kills, victim="")

        def show(number: int, victim: str) -> None:
            word = f"the last of {victim}" if number < conditions.kills else "collecting what is left"
            self.progress.update(task, completed=number, victim=word)

        return asyncio.run(burn(conditions, show))


def outcome_of(options: argparse.Namespace, console: Console) -> Outcome:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        tempfile.TemporaryDirectory(prefix="tollgate-fire-") as name,
        tables(options, Path(name)) as azurite,
        Progress(*columns, TextColumn("{task.fields[victim]}"), console=console, transient=True) as progress,
    ):
        prefix = f"f{os.urandom(4).hex()}"
        conditions = Conditions(azurite, prefix, Path(name), options.kills, options.seed, forgetful=options.forgetful)
        return Kills(progress).run(conditions)


def as_json(outcome: Outcome) -> str:
    document = {
        "report": outcome.report(),
        "faults": outcome.faults(),
        "kills": outcome.kills,
        "events": outcome.events,
        "stored": outcome.stored,
        "proved": sum(proof.totals.emitted for proof in outcome.proofs if proof.status == "proved"),
        "duplicates": outcome.duplicates,
        "expected": sum(outcome.expected.values()),
        "found": sum(outcome.books.totals.values()),
    }
    return json.dumps(document)


def main() -> int:
    options = arguments()
    logging.disable(logging.WARNING)  # lost connections are what this is about
    console = Console(stderr=True)
    if not options.azurite and not PROGRAM.exists():
        console.print("Azurite is not installed: run tests/install_azurite.")
        return 2
    outcome = outcome_of(options, console)
    console.print(outcome.report(), highlight=False)
    for fault in outcome.faults()[:20]:
        console.print(fault, style="red", highlight=False)
    if options.json:
        sys.stdout.write(as_json(outcome) + "\n")
    return 1 if outcome.faults() else 0


if __name__ == "__main__":
    sys.exit(main())
