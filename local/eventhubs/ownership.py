"""Who may receive from a partition: receivers with an owner level exclude others of their consumer group.

The rule, of the attach property `com.microsoft:epoch`: a receiver with a level ends those of a lower or no level and
of its own level; one whose level is lower, or that has none while another has, is refused. The SDKs' event processors
receive at level 0 and so take partitions from each other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from local.eventhubs.errors import STOLEN, Refused

EPOCH: Final = "com.microsoft:epoch"


@dataclass(frozen=True, eq=False, slots=True)
class Receiver:
    """`end` detaches the receiver's link with a reason."""

    level: int | None
    end: Callable[[Refused], None]


class Ownership:
    """The receivers of one hub."""

    def __init__(self) -> None:
        self._receivers: dict[tuple[int, str], list[Receiver]] = {}

    def enter(self, partition: int, group: str, receiver: Receiver) -> None:
        """Admit a receiver and end those that it excludes. Raises Refused where another excludes it."""
        present = self._receivers.setdefault((partition, group.lower()), [])
        highest = max((each.level for each in present if each.level is not None), default=None)
        if highest is not None and (receiver.level is None or receiver.level < highest):
            raise Refused(STOLEN, f"A receiver with a higher epoch '{highest}' already exists.")
        if receiver.level is not None:
            for each in tuple(present):
                each.end(Refused(STOLEN, f"New receiver with higher epoch of '{receiver.level}' is created."))
            present.clear()
        present.append(receiver)

    def leave(self, partition: int, group: str, receiver: Receiver) -> None:
        present = self._receivers.get((partition, group.lower()), [])
        if receiver in present:
            present.remove(receiver)
