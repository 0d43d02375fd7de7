"""The hub of usage events as chargeback asks it how far a collector has to read."""

from collections.abc import Mapping
from typing import Protocol


class Hub(Protocol):
    """A part of seams.events.EventStream."""

    async def incarnation(self) -> str: ...

    async def ends(self) -> Mapping[str, int]:
        """Return the number of each partition's last event, -1 where there is none. Raises StreamUnavailable."""
        ...
