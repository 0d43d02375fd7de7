"""A mended event, as somebody hands it to the command line."""

import sys
from pathlib import Path

import typer


def mended_from(file: Path | None) -> bytes:
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
