"""`tollgate proofs`: list, show, prove."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from urllib.parse import quote, urlencode

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hosting.commands.shell import LOCAL, AsJson, Url, connected, print_json, print_table

HELP = """Read the proofs of days: what the event hub gave out is what was received, summed and stored."""

PROVE_SECONDS: Final = 240.0
"""Detail rows are counted one by one; on Azure a request ends after 230 seconds."""

_EXAMPLES = {"list": "2026-11", "show": "2026-11-20", "prove": "2026-11-20"}
_PATH: Final = "/chargeback/proofs"
_SHOWN: Final = frozenset({"day", "status", "findings", "lanes", "totals"})
_COUNTS: Final = ("emitted", "missing", "dead_letters", "day_events", "duplicates", "summed", "stored")
"""They fit into 80 columns. What was received is what was emitted but for the missing."""

_COUNTS_OF_A_DAY: Final = ("emitted", "missing", "dead_letters", "day_events", "stored")
_STYLES: Final = {"proved": "green", "open": "yellow", "broken": "bold red"}

Day = Annotated[str, typer.Argument(metavar="DAY", help="The day in UTC, such as 2026-11-20.")]


def build() -> typer.Typer:
    """Return the group of commands."""
    group = typer.Typer(help=HELP, no_args_is_help=True, rich_markup_mode=None)
    commands: dict[str, Callable[..., None]] = {"list": list_proofs, "show": show, "prove": prove}
    for name, command in commands.items():
        group.command(name, epilog=f"Example: tollgate proofs {name} {_EXAMPLES[name]}")(command)
    return group


def list_proofs(
    month: Annotated[str, typer.Argument(metavar="[MONTH]", help="Such as 2026-11; the present one by default.")] = "",
    url: Url = LOCAL,
    as_json: AsJson = False,
) -> None:
    """List the days of a month that are closed."""
    asked = urlencode({"period": month or f"{datetime.now(UTC):%Y-%m}"})
    with connected(url) as api:
        found = api.json({"proofs"}, "GET", f"{_PATH}?{asked}")["proofs"]
    if as_json:
        print_json(found)
        return
    table = _table("day", "status", "rev.", counts=_COUNTS_OF_A_DAY)
    for proof in found:
        table.add_row(proof["day"], _status(proof), str(proof["revision"]), *_counts(proof["totals"], _COUNTS_OF_A_DAY))
    print_table(table)


def show(day: Day, url: Url = LOCAL, as_json: AsJson = False) -> None:
    """Show a day's proof, lane by lane. Ends with 1 where the day is broken."""
    with connected(url) as api:
        proof = api.json(_SHOWN, "GET", f"{_PATH}/{quote(day, safe='')}")
    _tell(proof, as_json=as_json)


def prove(day: Day, url: Url = LOCAL, as_json: AsJson = False) -> None:
    """Prove a day anew, counting every row, and keep what is new. Ends with 1 where the day is broken."""
    with connected(url, PROVE_SECONDS) as api:
        proof = api.json(_SHOWN, "POST", f"{_PATH}/{quote(day, safe='')}")
    _tell(proof, as_json=as_json)


def _tell(proof: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(proof)
    else:
        _print(proof)
    if proof["status"] == "broken":
        raise typer.Exit(1)


def _print(proof: Mapping[str, Any]) -> None:
    console = Console()
    closed = f", revision {proof['revision']}, closed at {proof['closed_at']}" if proof["revision"] else ""
    console.print(Text.assemble(proof["day"], " is ", _status(proof), closed), soft_wrap=True)
    for finding in proof["findings"]:
        console.print(Text(finding), soft_wrap=True)
    table = _table("lane")
    for lane in proof["lanes"]:
        table.add_row(Text(lane["lane"]), *_counts(lane))
    table.add_section()
    table.add_row("all", *_counts(proof["totals"]))
    print_table(table)


def _table(*headings: str, counts: Sequence[str] = _COUNTS) -> Table:
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    # A lane may be folded, a day not.
    table.columns[0].min_width = len(" 2026-11-20 ")
    for name in counts:
        table.add_column(name.replace("_", "\n"), justify="right", no_wrap=True)
    return table


def _counts(counts: Mapping[str, Any], names: Sequence[str] = _COUNTS) -> list[str]:
    return ["-" if counts[name] is None else str(counts[name]) for name in names]


def _status(proof: Mapping[str, Any]) -> Text:
    return Text(proof["status"], style=_STYLES.get(proof["status"], ""))
