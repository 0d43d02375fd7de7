"""Tables and event streams in the state folder: what TOLLGATE_SEAMS names on a developer's machine."""

from hosting.services import Seams
from hosting.settings import Settings
from local.state import state_folder, streams_of
from local.tables import SQLiteTables


def open_seams(_settings: Settings) -> Seams:
    """Open the state folder's tables and streams; nothing is written before it is used."""
    folder = state_folder()
    return Seams(tables=SQLiteTables(folder / "tables.sqlite"), stream=streams_of(folder).stream)
