"""`tollgate enrich`: suggestions for tickets in files."""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import Progress

from hosting.commands.enrichment_api import EnrichmentApi
from hosting.commands.enrichment_tables import failures, ticket_view, tickets_table
from hosting.commands.shell import LOCAL, AsJson, Url, connected, print_json, tell
from hosting.commands.ticket_files import FileUnreadable, Json, TicketRequest, requests_in
from hosting.commands.tollgate_api import ApiError

HELP = """Print what Tollgate suggests for tickets; nothing is written anywhere.

FILE is JSON: a ticket by its Table API fields, an answer of the Table API, an export, or a request to /enrich; - reads
standard input. TOLLGATE_KEY is a subscription's key here: each ticket is charged to it.
"""

EXAMPLES = """Examples:

tollgate enrich incident.json

tollgate enrich incident.json --task summary --choices choices.json

tollgate enrich export.json --parallel 8 --json >suggestions.jsonl

curl -su admin "$TABLE_API/incident/$ID" | tollgate enrich -
"""

SECONDS: Final = 60.0
"""Longer than /enrich takes."""

type Outcome = Json | ApiError


def enrich(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Tickets, as JSON.", allow_dash=True)],
    *,
    url: Url = LOCAL,
    task: Annotated[list[str] | None, typer.Option(help="What to find out, such as summary; may be repeated.")] = None,
    choices: Annotated[
        Path | None, typer.Option(help='The values that fields may take: JSON such as {"category": ["Network"]}.')
    ] = None,
    language: Annotated[
        str | None, typer.Option(help="Write in this language, such as de, not the ticket's own.")
    ] = None,
    parallel: Annotated[int, typer.Option(min=1, max=64, help="Tickets at a time.")] = 4,
    as_json: AsJson = False,
) -> None:
    asked = {"tasks": task or None, "choices": _choices(choices), "output_language": language}
    given = {name: value for name, value in asked.items() if value is not None}
    requests = [TicketRequest(each.name, each.body | given) for file in files for each in _read(file)]
    with connected(url, SECONDS, holder="subscription") as api:
        outcomes = _outcomes(EnrichmentApi(api), requests, parallel)
        code = _printed(outcomes, alone=len(requests) == 1) if as_json else _shown(requests, list(outcomes))
    raise typer.Exit(code)


def _outcomes(api: EnrichmentApi, requests: Sequence[TicketRequest], parallel: int) -> Iterator[Outcome]:
    """Yield each ticket's answer or error in the order of the tickets, and tell of errors as they come."""
    with (
        ThreadPoolExecutor(parallel) as pool,
        Progress(console=Console(stderr=True), transient=True, disable=len(requests) < 2) as progress,
    ):
        bar = progress.add_task("tickets", total=len(requests))
        try:
            found = pool.map(partial(_outcome, api), requests)
            for request, outcome in zip(requests, found, strict=True):
                if isinstance(outcome, ApiError):
                    tell(f"{request.name}: {outcome}")
                progress.advance(bar)
                yield outcome
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _outcome(api: EnrichmentApi, request: TicketRequest) -> Outcome:
    try:
        return api.enrich(request.body)
    except ApiError as error:
        return error


def _printed(outcomes: Iterator[Outcome], *, alone: bool) -> int:
    """Print each answer as it comes and keep none; return the exit code."""
    code = 0
    for outcome in outcomes:
        code = max(code, _exit_code(outcome))
        if not isinstance(outcome, ApiError):
            _print(outcome, alone=alone)
    return code


def _shown(requests: Sequence[TicketRequest], outcomes: Sequence[Outcome]) -> int:
    """Show one ticket whole, many as a table; return the exit code."""
    answers = [None if isinstance(outcome, ApiError) else outcome for outcome in outcomes]
    if len(requests) > 1:
        errors = [str(outcome) if isinstance(outcome, ApiError) else "" for outcome in outcomes]
        names = [request.name for request in requests]
        Console().print(tickets_table(zip(names, answers, errors, strict=True)))
    elif answers[0] is not None:
        Console().print(ticket_view(requests[0].name, answers[0]))
    return max(map(_exit_code, outcomes))


def _exit_code(outcome: Outcome) -> int:
    if isinstance(outcome, ApiError):
        return outcome.exit_code
    return 1 if failures(outcome) else 0


def _print(answer: Json, *, alone: bool) -> None:
    if alone:
        print_json(answer)
    else:
        print(json.dumps(answer), flush=True)  # noqa: T201 - for programs, a line a ticket


def _read(file: Path) -> list[TicketRequest]:
    try:
        return requests_in(file)
    except FileUnreadable as error:
        raise typer.BadParameter(str(error)) from error


def _choices(file: Path | None) -> dict[str, Any] | None:
    if file is None:
        return None
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{file} cannot be read as JSON: {error}", param_hint="--choices") from error
    if not isinstance(content, dict):
        raise typer.BadParameter(f"{file} holds no JSON object.", param_hint="--choices")
    return content
