"""What the connections of one stand-in have in common."""

from collections.abc import Callable
from dataclasses import dataclass, field

from local.eventhubs.addresses import Place
from local.eventhubs.errors import NOT_FOUND, Refused
from local.eventhubs.faults import Trouble
from local.eventhubs.hubs import Hub, Hubs
from seams.clock import Clock


@dataclass(slots=True)
class Counts:
    """Since the start. A batch is a message or batch that a peer published; its events are counted one by one."""

    connections: int = 0
    batches_in: int = 0
    events_in: int = 0
    events_out: int = 0
    acks_dropped: int = 0
    busy_answers: int = 0
    violations: int = 0


@dataclass(frozen=True, slots=True)
class Broker:
    """`key` is the shared access key that tokens must be signed with; None takes any token.

    `die` ends the stand-in at once, for the fault `deaths`.
    """

    hubs: Hubs
    trouble: Trouble
    clock: Clock
    die: Callable[[], None]
    key: str | None = None
    counts: Counts = field(default_factory=Counts)

    def hub(self, place: Place) -> Hub:
        """Return the hub that a peer names. Raises Refused where it, or its partition, does not exist."""
        hub = self.hubs.find(place.hub)
        if hub is None or (place.partition is not None and place.partition >= hub.partitions):
            raise Refused(NOT_FOUND, f"The messaging entity '{place.hub}' or its partition could not be found.")
        return hub
