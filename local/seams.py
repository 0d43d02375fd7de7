"""Tables and event streams of a developer's machine: what TOLLGATE_SEAMS names.

The tables lie in the state folder; so do the streams, or they are those of a stand-in for Event Hubs, reached by the
SDK as on Azure.
"""

from typing import Final

from hosting.eventhubs.events import EventHubStream
from hosting.services.seams import Seams
from hosting.settings import Settings
from local.state import state_folder, streams_of
from local.tables import SQLiteTables
from seams.clock import SystemClock

IN_FILES: Final = "local.seams:open_seams"
WITH_EVENT_HUBS: Final = "local.seams:open_seams_with_event_hubs"


def open_seams(_settings: Settings) -> Seams:
    """Open the state folder's tables and streams; nothing is written before it is used."""
    folder = state_folder()
    return Seams(tables=SQLiteTables(folder / "tables.sqlite"), stream=streams_of(folder).stream)


def open_seams_with_event_hubs(settings: Settings) -> Seams:
    """Open the state folder's tables, and the event hubs that the setting EVENTHUB names."""

    def stream(hub: str) -> EventHubStream:
        return EventHubStream.by_connection_string(
            settings.eventhub_connection, hub, timeout_seconds=settings.publish_timeout_seconds, clock=SystemClock()
        )

    return Seams(tables=SQLiteTables(state_folder() / "tables.sqlite"), stream=stream)
