"""Which event streams `make run` works over, as EVENTS says: files in the state folder, or an Event Hubs stand-in."""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hosting.settings import WrongSettings
from local.eventhubs.server import connection_string
from local.events.checkpoints import Checkpoints
from local.events.event_log import PARTITIONS
from local.events.event_source import EventSource, LocalSource
from local.events.hub_source import HubSource
from local.seams import IN_FILES, WITH_EVENT_HUBS
from local.stand_in import running_stand_in
from local.state import streams_of

FILES: Final = "files"
EVENT_HUB: Final = "eventhub"


@dataclass(frozen=True, slots=True)
class Streams:
    """`settings` are the app settings that let the app publish there; `source` is what a trigger of a hub reads.

    `port` is that of a stand-in for Event Hubs, where there is one.
    """

    source: Callable[[str], EventSource]
    settings: Mapping[str, str] = field(default_factory=dict)
    port: int | None = None


@contextlib.asynccontextmanager
async def open_streams(kind: str, state: Path) -> AsyncIterator[Streams]:
    """Have the streams while the block runs. Raises WrongSettings for another kind, and NotReady."""
    if kind == FILES:
        streams = streams_of(state)
        yield Streams(lambda hub: LocalSource(streams.stream(hub)), {"TOLLGATE_SEAMS": IN_FILES})
    elif kind == EVENT_HUB:
        async with _event_hubs(state / "eventhubs") as opened:
            yield opened
    else:
        raise WrongSettings(f"EVENTS is {FILES} or {EVENT_HUB}, not {kind!r}.")


@contextlib.asynccontextmanager
async def _event_hubs(folder: Path) -> AsyncIterator[Streams]:
    """Run a stand-in. Its events and the checkpoints lie in one folder, so that they are deleted together."""
    async with running_stand_in(folder, PARTITIONS) as port:
        reached_at = connection_string(port)
        yield Streams(
            lambda hub: HubSource(reached_at, hub, Checkpoints(folder / "checkpoints" / hub.lower())),
            {"TOLLGATE_SEAMS": WITH_EVENT_HUBS, "EVENTHUB": reached_at},
            port,
        )
