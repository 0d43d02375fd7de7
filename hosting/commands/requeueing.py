"""Events and jobs put back from the command line, one after the other, as they came or mended."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import typer
from rich.console import Console

from hosting.commands.shell import connected, print_json, tell
from hosting.commands.tollgate_api import ApiError, Json, TollgateApi


class Requeueing(Protocol):
    """The part of the API that puts something back."""

    def requeue(self, name: str, mended: bytes, *, force: bool) -> Json: ...


def requeue_each(
    part: Callable[[TollgateApi], Requeueing],
    names: Sequence[str],
    *,
    url: str,
    body_file: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Put each back; one that is refused is told and does not keep back those after it.

    Raises typer.Exit with the highest exit code of those that were refused, and typer.BadParameter.
    """
    if body_file is not None and len(names) > 1:
        raise typer.BadParameter("--body-file mends one dead letter: name one.")
    mended = _mended(body_file)
    done, code = [], 0
    with connected(url) as api:
        for name in names:
            try:
                done.append(part(api).requeue(name, mended, force=force))
            except ApiError as error:
                tell(f"{name}: {error}")
                code = max(code, error.exit_code)
            else:
                if not as_json:
                    Console().print(f"Requeued {name}.", markup=False, soft_wrap=True)
    if as_json:
        print_json(done)
    if code:
        raise typer.Exit(code)


def _mended(file: Path | None) -> bytes:
    """Return what a file holds, or standard input where it is `-`; nothing without one. Raises typer.BadParameter."""
    if file is None:
        return b""
    try:
        mended = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror}") from error
    if not mended.strip():
        raise typer.BadParameter(f"{file} is empty: leave --body-file out to publish the event as it came.")
    return mended
