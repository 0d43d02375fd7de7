"""`tollgate deadletters`: list, show, requeue."""

import base64
import json
import sys
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hosting.commands.deadletters_api import DeadLettersApi
from hosting.commands.requeueing import requeue_each
from hosting.commands.shell import LOCAL, AsJson, Url, connected, print_json, print_table, printable

HELP = """Look at usage events that cannot be billed, and put them back once they or the collector have been mended."""

_EXAMPLES = {
    "list": "--waiting",
    "show": "251607124799999999-0c1d2e3f40516273 --body >event.json",
    "requeue": "251607124799999999-0c1d2e3f40516273 --body-file event.json",
}


def build() -> typer.Typer:
    """Return the group of commands."""
    group = typer.Typer(help=HELP, no_args_is_help=True, rich_markup_mode=None)
    commands: dict[str, Callable[..., None]] = {"list": list_dead_letters, "show": show, "requeue": requeue}
    for name, command in commands.items():
        group.command(name, epilog=f"Example: tollgate deadletters {name} {_EXAMPLES[name]}")(command)
    return group


def list_dead_letters(
    url: Url = LOCAL,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 100,
    after: Annotated[str, typer.Option(help="Only those that come after this id.")] = "",
    waiting: Annotated[bool, typer.Option("--waiting", help="Only those that were never requeued.")] = False,
    as_json: AsJson = False,
) -> None:
    """List dead letters, the latest first."""
    with connected(url) as api:
        found = list(islice(DeadLettersApi(api).letters(after, waiting=waiting), limit + 1))
    if as_json:
        print_json(found[:limit])
        return
    print_table(_table(found[:limit]))
    if len(found) > limit:
        Console(stderr=True).print(f"There are more: --after {found[limit - 1]['id']}", markup=False)


def show(
    letter: Annotated[str, typer.Argument(metavar="ID", help="The dead letter's id.")],
    url: Url = LOCAL,
    body: Annotated[bool, typer.Option("--body", help="Print the event alone, as it came.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a dead letter with the event that came."""
    with connected(url) as api:
        shown = DeadLettersApi(api).show(letter)
    if as_json:
        print_json(shown)
    elif body:
        sys.stdout.buffer.write(_bytes(shown))
    else:
        print_table(_fields(shown["dead_letter"]))
        Console().print(Text(printable(_bytes(shown).decode(errors="backslashreplace"))), soft_wrap=True)


def requeue(
    letters: Annotated[list[str], typer.Argument(metavar="ID", help="Ids of dead letters.")],
    url: Url = LOCAL,
    body_file: Annotated[
        Path | None,
        typer.Option(help="Publish this event in place of the one that came; - reads standard input.", allow_dash=True),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also what was requeued before, or cannot be billed as it is.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Publish events again; an event that was counted after all is not counted twice.

    One that is refused is told and does not keep back those after it.
    """
    requeue_each(DeadLettersApi, letters, url=url, body_file=body_file, force=force, as_json=as_json)


def _bytes(shown: Mapping[str, Any]) -> bytes:
    body = str(shown["body"])
    return base64.b64decode(body) if shown["encoding"] == "base64" else body.encode()


def _table(letters: list[dict[str, Any]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("id", "taken by the hub"):
        table.add_column(heading, no_wrap=True)
    table.add_column("reason", overflow="fold")
    for each in letters:
        taken = each["enqueued_at"][: len("2026-11-20T09:30")].replace("T", " ")
        table.add_row(each["id"], taken, Text(f"{_times(each)}{each['reason']}"))
    return table


def _fields(letter: Mapping[str, Any]) -> Table:
    table = Table("field", "value", box=box.SIMPLE_HEAD, show_header=False)
    for name, value in letter.items():
        written = _history(letter) if name == "requeues" else value if isinstance(value, str) else json.dumps(value)
        table.add_row(name.replace("_", " "), Text(written))
    return table


def _times(letter: Mapping[str, Any]) -> str:
    count = len(letter["requeues"])
    return "" if not count else "requeued once: " if count == 1 else f"requeued {count} times: "


def _history(letter: Mapping[str, Any]) -> str:
    lines = [f"{one['at']} by {one['by']}{', mended' if one['mended'] else ''}" for one in letter["requeues"]]
    return "\n".join(lines) or "-"
