"""`python -m evaluation`: score the suggestions for labelled incidents with whatever model the catalog gives."""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import Progress

from evaluation import report
from evaluation.gateway import NotStarted, gateway
from evaluation.labelled import FIELDS, Labelled, choices_of, incidents_in
from evaluation.scores import Outcome, score
from hosting.commands.enrichment_api import EnrichmentApi
from hosting.commands.ticket_files import FileUnreadable, Json
from hosting.commands.tollgate_api import ApiError, Refused, TollgateApi

INCIDENTS: Final = Path(__file__).parent / "incidents.json"
SECONDS: Final = 60.0
MOST_HISTORY: Final = 200
EXAMPLES: Final = """\
examples:
  python -m evaluation                                     the repository's incidents, the demo's simulated model
  GATEWAY_CATALOG=catalog.toml TOLLGATE_KEY=... python -m evaluation             with your own backends
  ENRICHMENT_DEPLOYMENT=gpt-4o GATEWAY_CATALOG=... python -m evaluation          another deployment of theirs
  TOLLGATE_KEY=... python -m evaluation --url https://tollgate.contoso.example   a Tollgate that runs
  python -m evaluation --incidents export.json --field category --field assignment_group --json -

An export is what the Table API answers with sysparm_display_value=true. Fields that tell the label are taken out of a
ticket before it is asked about. Time counts waits that the gateway asked for, too."""


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m evaluation",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--incidents", type=Path, default=INCIDENTS, metavar="FILE", help="labelled incidents as JSON")
    parser.add_argument("--field", action="append", choices=FIELDS, help="a field to score; may be repeated")
    parser.add_argument("--limit", type=_count, metavar="N", help="only the first N incidents")
    parser.add_argument("--history", action="store_true", help="give the other incidents as history")
    parser.add_argument("--parallel", type=_count, default=8, metavar="N", help="tickets at a time (default 8)")
    parser.add_argument("--url", help="a running Tollgate; without it one is started")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures; - is stdout")
    return parser.parse_args(given)


def _count(text: str) -> int:
    """Read a number of tickets from the command line."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not at least 1")
    return number


def outcomes(
    api: EnrichmentApi, incidents: Sequence[Labelled], bodies: Sequence[Json], parallel: int
) -> Iterator[Outcome]:
    """Yield what came of each incident, in their order."""
    with ThreadPoolExecutor(parallel) as pool:
        yield from pool.map(partial(_outcome, api), incidents, bodies)


def bodies(incidents: Sequence[Labelled], choices: dict[str, list[str]], *, history: bool) -> list[Json]:
    """Return the requests. An incident's history is the others, with their labels."""
    asked = {"tasks": ["classification"], "choices": choices, "mode": "sync"}
    if not history:
        return [{"ticket": each.ticket, **asked} for each in incidents]
    resolved = [each.ticket | dict(each.labels) for each in incidents[: MOST_HISTORY + 1]]
    return [
        {"ticket": each.ticket, **asked, "history": [*resolved[:place], *resolved[place + 1 :]][:MOST_HISTORY]}
        for place, each in enumerate(incidents)
    ]


def run(options: argparse.Namespace, console: Console) -> None:
    fields = options.field or FIELDS
    incidents = incidents_in(options.incidents, fields)[: options.limit]
    asked = bodies(incidents, choices_of(options.incidents, incidents), history=options.history)
    with (
        gateway(options.url, os.environ) as found,
        TollgateApi(found.url, found.key, SECONDS) as api,
        Progress(console=Console(stderr=True), transient=True) as progress,
    ):
        results = list(
            progress.track(
                outcomes(EnrichmentApi(api), incidents, asked, options.parallel),
                total=len(incidents),
                description="tickets",
            )
        )
    scores = score(results, fields)
    report.print_tables(console, scores, simulated=found.simulated)
    if options.json is not None:
        text = json.dumps(report.as_json(scores, simulated=found.simulated), indent=1, ensure_ascii=False) + "\n"
        if options.json == Path("-"):
            sys.stdout.write(text)
        else:
            options.json.write_text(text)


def _outcome(api: EnrichmentApi, incident: Labelled, body: Json) -> Outcome:
    began = time.monotonic()
    try:
        return Outcome(incident, api.enrich(body), time.monotonic() - began)
    except ApiError as error:
        code = error.code if isinstance(error, Refused) else type(error).__name__
        return Outcome(incident, None, time.monotonic() - began, code)


def main() -> int:
    options = arguments()
    console = Console(stderr=options.json == Path("-"))
    try:
        run(options, console)
    except (FileUnreadable, NotStarted, ApiError) as error:
        console.print(f"{error}", style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
