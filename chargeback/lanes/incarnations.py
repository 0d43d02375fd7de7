"""Which hub events come from: asked for again whenever one could have been deleted and made again under its name.

A new hub's numbers start again, so an event of it that is taken for one of the old hub's looks as if it had been
delivered before, and would be dropped. A process that goes on while that happens sees it in the numbers: within a
partition they follow each other, or what comes was seen already, no later than what came last. Anything else, and a
partition that the process has not read yet, is a reason to ask the hub who it is.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from seams.events import ReceivedEvent

_NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(slots=True)
class _Stretch:
    """Numbers of one partition, and when the first and the last of them were enqueued."""

    first: int
    last: int
    earliest: datetime
    latest: datetime

    def add(self, number: int, at: datetime) -> None:
        self.first = min(self.first, number)
        self.last = max(self.last, number)
        self.earliest = min(self.earliest, at)
        self.latest = max(self.latest, at)


@dataclass(frozen=True, slots=True)
class _Known:
    """A hub and what was seen of its partitions; one that is gone had no event `until` then or later."""

    name: str
    seen: dict[str, _Stretch] = field(default_factory=dict)
    until: datetime = _NEVER

    def follows(self, came: Mapping[str, _Stretch]) -> bool:
        return all(self._goes_on(partition, each) for partition, each in came.items())

    def _goes_on(self, partition: str, came: _Stretch) -> bool:
        seen = self.seen.get(partition)
        if seen is None or came.latest >= self.until:
            return False
        return came.first == seen.last + 1 or came.latest <= seen.latest

    def add(self, came: Mapping[str, _Stretch]) -> None:
        for partition, each in came.items():
            self.seen.setdefault(partition, each).add(each.last, each.latest)


class Incarnations:
    """Tells the hub's incarnation for each batch; `ask` asks the hub, each time. One object a process."""

    def __init__(self, ask: Callable[[], Awaitable[str]]) -> None:
        self._ask = ask
        self._present: _Known | None = None
        self._former: _Known | None = None

    async def of(self, batch: Sequence[ReceivedEvent]) -> str:
        """Return the incarnation that a batch's events have their numbers from. Raises what `ask` raises."""
        came = _stretches(batch)
        # What was on its way when the hub was made again comes after the first event of the new one.
        known = self._former if self._former and self._former.follows(came) else self._present
        if known is None or not known.follows(came):
            known = self._now(await self._ask(), came)
        known.add(came)
        return known.name

    def _now(self, name: str, came: Mapping[str, _Stretch]) -> _Known:
        present = self._present
        if present is None or present.name != name:
            if present is not None:
                begins = min((each.earliest for each in came.values()), default=present.until)
                self._former = replace(present, until=begins)
            present = self._present = _Known(name)
        return present


def _stretches(batch: Sequence[ReceivedEvent]) -> dict[str, _Stretch]:
    stretches: dict[str, _Stretch] = {}
    for received in batch:
        number, at = received.sequence_number, received.enqueued_at
        stretch = stretches.get(received.partition)
        if stretch is None:
            stretches[received.partition] = _Stretch(number, number, at, at)
        else:
            stretch.add(number, at)
    return stretches
