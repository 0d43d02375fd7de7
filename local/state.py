"""The folder in which a developer's machine keeps what Azure would: rows and events."""

import os
import tempfile
from functools import cache
from pathlib import Path

from local.events.events import LocalStreams


def state_folder() -> Path:
    """Return the folder that STATE names, `.local` by default, as an absolute path."""
    return Path(os.environ.get("STATE") or ".local").resolve()


def open_state_folder() -> None:
    """Make the folder and see that files can be written in it, before anything is promised. Raises OSError."""
    folder = state_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        return


@cache
def streams_of(folder: Path) -> LocalStreams:
    """Return the streams of a folder: the same ones to the app, which publishes, and to the host, which reads."""
    return LocalStreams(folder)
