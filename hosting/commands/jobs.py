"""`tollgate jobs`: list, show, requeue."""

import json
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hosting.commands.jobs_api import JobsApi
from hosting.commands.requeueing import requeue_each
from hosting.commands.shell import LOCAL, AsJson, Url, connected, print_json, print_table, printable
from hosting.commands.tollgate_api import Json

HELP = """Look at jobs and at what was given up, and run it again once the reason has been mended."""

_MINUTES: Final = len("2026-11-20T09:30")
_EXAMPLES = {
    "list": "--dead --waiting",
    "show": "service-desk/INC0010023-7",
    "requeue": "20261120,service-desk,INC0010023-7",
}

type Status = Literal["any", "queued", "running", "succeeded", "failed"]


def build() -> typer.Typer:
    """Return the group of commands."""
    group = typer.Typer(help=HELP, no_args_is_help=True, rich_markup_mode=None)
    commands: dict[str, Callable[..., None]] = {"list": list_jobs, "show": show, "requeue": requeue}
    for name, command in commands.items():
        group.command(name, epilog=f"Example: tollgate jobs {name} {_EXAMPLES[name]}")(command)
    return group


def list_jobs(
    *,
    url: Url = LOCAL,
    status: Annotated[Status, typer.Option(help="Only jobs of this status.")] = "any",
    dead: Annotated[bool, typer.Option("--dead", help="List dead letters instead, the latest day first.")] = False,
    waiting: Annotated[bool, typer.Option("--waiting", help="Only dead letters that were never put back.")] = False,
    days: Annotated[int, typer.Option(min=1, max=366, help="How far back dead letters are looked for.")] = 30,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List jobs, those that are looked at next first: long finished ones come last."""
    with connected(url) as api:
        jobs = JobsApi(api)
        found = list(islice(jobs.letters(days, waiting=waiting) if dead else jobs.jobs(status), limit + 1))
    if as_json:
        print_json(found[:limit])
        return
    print_table(_letters(found[:limit]) if dead else _jobs(found[:limit]))
    if len(found) > limit:
        Console(stderr=True).print("There are more: raise --limit.", markup=False)


def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A job as SUBSCRIPTION/ID, or a dead letter's id.")],
    url: Url = LOCAL,
    as_json: AsJson = False,
) -> None:
    """Show how a job goes, or a dead letter with its event. Tickets and results of jobs are not shown."""
    with connected(url) as api:
        shown = JobsApi(api).show(name)
    if as_json:
        print_json(shown)
        return
    print_table(_fields(shown.get("dead_letter", shown)))
    if shown.get("body"):
        Console().print(Text(printable(shown["body"])), soft_wrap=True)


def requeue(
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="Jobs as SUBSCRIPTION/ID, dead letters by id.")],
    url: Url = LOCAL,
    body_file: Annotated[
        Path | None,
        typer.Option(help="Publish this job in place of an event; - reads standard input.", allow_dash=True),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Also jobs that succeeded: they are charged again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run jobs again, with all their tries, and put events back on the hub.

    One that is refused is told and does not keep back those after it.
    """
    requeue_each(JobsApi, names, url=url, body_file=body_file, force=force, as_json=as_json)


def _jobs(jobs: list[Json]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("job", "status", "tries", "made"):
        table.add_column(heading, no_wrap=True)
    table.add_column("what failed", overflow="fold")
    for job in jobs:
        name = f"{job['subscription']}/{job['id']}"
        table.add_row(name, job["status"], str(job["attempts"]), _minute(job["created_at"]), Text(_failures(job)))
    return table


def _letters(letters: list[Json]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("id", "given up"):
        table.add_column(heading, no_wrap=True)
    table.add_column("reason", overflow="fold")
    for each in letters:
        reason = f"{'put back: ' if 'requeued_at' in each else ''}{each['reason']}"
        table.add_row(each["id"], _minute(each["at"]), Text(reason))
    return table


def _fields(shown: Mapping[str, Any]) -> Table:
    table = Table("field", "value", box=box.SIMPLE_HEAD, show_header=False)
    for name, value in shown.items():
        table.add_row(name.replace("_", " "), Text(value if isinstance(value, str) else json.dumps(value)))
    return table


def _failures(job: Json) -> str:
    failed = [f"{job['error']['code']}: {job['error']['message']}"] if "error" in job else []
    if job.get("callback", {}).get("error"):
        failed.append(f"callback: {job['callback']['error']}")
    return "; ".join(failed)


def _minute(moment: str) -> str:
    return moment[:_MINUTES].replace("T", " ")
