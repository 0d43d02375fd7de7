"""An event stream: bytes in, durable once `publish` returns; batches out, in order per partition, at least once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


class StreamUnavailable(Exception):
    """The stream did not acknowledge in time; the events may or may not have been kept."""


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """One event as a trigger got it. `sequence_number` grows inside a partition of one incarnation of the stream."""

    body: bytes
    partition: str
    sequence_number: int
    enqueued_at: datetime


class EventStream(Protocol):
    async def publish(self, bodies: Sequence[bytes], key: str) -> None:
        """Append events that share a partition key, in order; they are durable when this returns.

        Raises StreamUnavailable after a bounded time, and ValueError for an event over 1 MB.
        """
        ...

    async def incarnation(self) -> str:
        """Return what tells this stream from one that was deleted and made again under its name.

        Sequence numbers are comparable only within one incarnation. Asks the stream each time. Raises
        StreamUnavailable.
        """
        ...

    async def ends(self) -> Mapping[str, int]:
        """Return the sequence number of the last event appended to each partition, -1 where there was none yet.

        Raises StreamUnavailable after a bounded time.
        """
        ...

    async def close(self) -> None: ...
