"""What the groups of the command `tollgate` share: options, the connection, the key, JSON for programs."""

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from hosting.commands.tollgate_api import TIMEOUT_SECONDS, ApiError, TollgateApi

LOCAL: Final = "http://127.0.0.1:7071"

_WIDEST: Final = 2000
"""Characters of a table's line."""

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_AN: Final = {"operator": "an operator", "subscription": "a subscription"}

Url = Annotated[str, typer.Option(envvar="TOLLGATE_URL", help="Tollgate's address.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@contextmanager
def connected(url: str, timeout: float = TIMEOUT_SECONDS, *, holder: str = "operator") -> Iterator[TollgateApi]:
    """Yield the API; what it raises is told on stderr and ends the command with its exit code.

    `timeout` bounds each call, in seconds. `holder` is who has the key: an operator or a subscription.
    """
    try:
        with TollgateApi(url, _key(holder), timeout) as api:
            yield api
    except ApiError as error:
        tell(str(error))
        raise typer.Exit(error.exit_code) from error


def tell(error: str) -> None:
    """Write what went wrong to stderr."""
    Console(stderr=True).print(f"[red]Error:[/red] {escape(error)}", soft_wrap=True)


def print_table(table: Table) -> None:
    """Print a table; into a pipe or a file as wide as it is, so that no line of it is folded."""
    console = Console()
    if not console.is_terminal:
        console.width = max(
            console.width, Measurement.get(console, console.options.update(width=_WIDEST), table).maximum
        )
    console.print(table)


def print_json(content: object) -> None:
    print(json.dumps(content, indent=2))  # noqa: T201 - for programs: rich would wrap it


def printable(text: str) -> str:
    """Return text that a terminal takes for nothing but text, whatever a producer sent."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def _key(holder: str) -> str:
    """Return the key: from the environment, or as a person types it, unseen."""
    key = os.environ.get("TOLLGATE_KEY", "")
    if key:
        return key
    if not sys.stdin.isatty():
        raise typer.BadParameter(f"Set TOLLGATE_KEY to the key of {_AN[holder]}: there is no terminal to ask for it.")
    return str(typer.prompt(f"{holder.capitalize()} key", hide_input=True, err=True))
