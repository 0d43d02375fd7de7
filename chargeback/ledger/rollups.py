"""Rollups: sums of usage events per subscription, day, deployment, model and price tier, one row per lane.

A lane is one partition of one incarnation of the event stream. Inside a lane sequence numbers grow, so a rollup that
keeps the last one it has seen takes each delivery once: redelivery, a rival collector and a write that timed out but
took place all show as `sequence <= last_seq`. A producer's duplicate comes under a new number: it is found in the ring,
the hashes of the last 512 event ids. Both kinds leave the sums alone; the second counts in `duplicates`, so that a
lane's journal and its rollups can be compared. Pure: no I/O, no clock.
"""

import hashlib
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import UTC, date
from operator import add
from typing import Final, NamedTuple

import msgspec

from chargeback.columns import as_bytes, as_int
from chargeback.keys import key
from gateway.usage import Meters, Record, UsageEvent
from seams.tables import Entity, Value

ROLLUPS: Final = "rollups"
"""The table."""

RING_IDS: Final = 512
_MARK_BYTES: Final = 8
_RING_BYTES: Final = RING_IDS * _MARK_BYTES

METERS: Final = Meters.__struct_fields__
NOTHING: Final = Meters()
NONE: Final[AbstractSet[int]] = frozenset()
_ZEROS: Final = (0,) * len(METERS)

type Numbered = tuple[int, UsageEvent]
"""A sequence number of the lane and the event that came under it."""

type ContextTier = Callable[[str, str, date, int], str]
"""(model, its version, day, prompt tokens) -> the tier that a request of this length is billed in."""


class Names(NamedTuple):
    """What a rollup is a sum over; `day` is the UTC day on which the answers ended."""

    subscription: str
    day: date
    deployment: str
    model: str
    model_version: str
    deployment_type: str
    service_tier: str
    context_tier: str
    lane: str

    def partition(self) -> str:
        return rollup_partition(self.subscription, f"{self.day:%Y-%m}")

    def row(self) -> str:
        return key(f"{self.day:%Y%m%d}", *self[2:])


@dataclass(frozen=True, slots=True)
class Rollup:
    """The sums so far. `meters` and `avoided` are in the order of METERS.

    `events` counts usage events; `requests` leaves out those with a parent, which are further billed attempts at a
    request that has an event of its own. `avoided_requests` are those of `requests` that the cache answered.
    """

    names: Names
    events: int = 0
    requests: int = 0
    estimated_requests: int = 0
    avoided_requests: int = 0
    meters: tuple[int, ...] = _ZEROS
    avoided: tuple[int, ...] = _ZEROS
    duplicates: int = 0
    last_seq: int = -1
    ring: bytes = b""

    def usage(self) -> Meters:
        return Meters(**dict(zip(METERS, self.meters, strict=True)))

    def saved(self) -> Meters:
        """Return what answers out of the cache did not consume."""
        return Meters(**dict(zip(METERS, self.avoided, strict=True)))


def rollup_partition(subscription: str, period: str) -> str:
    """Return the partition of a subscription's month; `period` is yyyy-mm."""
    return key(subscription, period.replace("-", ""))


def names_of(event: UsageEvent, lane: str, context_tier: ContextTier) -> Names:
    """Return the names under which an event is summed; its own context tier goes before the one worked out."""
    day = day_of(event)
    # An answer out of the cache has no meters of its own; what it saved would have been billed in the prompt's tier.
    prompt_tokens = event.meters.prompt_tokens or event.avoided.prompt_tokens
    return Names(
        event.subscription,
        day,
        event.deployment,
        event.model,
        event.model_version,
        event.deployment_type,
        event.service_tier,
        event.context_tier or context_tier(event.model, event.model_version, day, prompt_tokens),
        lane,
    )


def day_of(record: Record) -> date:
    """Return the UTC day. Raises OverflowError at the ends of the calendar."""
    return (record.time if record.time.tzinfo is UTC else record.time.astimezone(UTC)).date()


def fold(rollup: Rollup, numbered: Iterable[Numbered], known: AbstractSet[int] = NONE) -> Rollup:
    """Return the rollup with the events of its names and lane added, each once; they come in sequence order.

    `known` are the numbers of events that were counted before, elsewhere or long ago: duplicates.
    """
    events, requests, estimated, last = rollup.events, rollup.requests, rollup.estimated_requests, rollup.last_seq
    duplicates = rollup.duplicates
    hits = rollup.avoided_requests
    meters: Iterable[int] = rollup.meters
    avoided: Iterable[int] = rollup.avoided
    ring = bytearray(rollup.ring)
    for sequence, event in numbered:
        if sequence <= last:
            continue
        last = sequence
        mark = mark_of(event.id)
        if sequence in known or holds(ring, mark):
            duplicates += 1
            continue
        ring += mark
        events += 1
        if not event.parent:
            requests += 1
            estimated += event.estimated
        meters = list(map(add, meters, msgspec.structs.astuple(event.meters)))
        if event.avoided != NOTHING:
            hits += 1
            avoided = list(map(add, avoided, msgspec.structs.astuple(event.avoided)))
    return replace(
        rollup,
        events=events,
        requests=requests,
        estimated_requests=estimated,
        avoided_requests=hits,
        meters=tuple(meters),
        avoided=tuple(avoided),
        duplicates=duplicates,
        last_seq=last,
        ring=bytes(ring[-_RING_BYTES:]),
    )


def to_entity(rollup: Rollup, etag: str | None) -> Entity:
    """Return the rollup's row; sums of 0 have no column."""
    names = rollup.names
    columns: dict[str, Value] = {
        **names._asdict(),
        "day": names.day.isoformat(),
        "events": rollup.events,
        "requests": rollup.requests,
        "estimated_requests": rollup.estimated_requests,
        "avoided_requests": rollup.avoided_requests,
        "last_seq": rollup.last_seq,
        "ring": rollup.ring,
    }
    if rollup.duplicates:
        columns["duplicates"] = rollup.duplicates
    columns.update({meter: count for meter, count in zip(METERS, rollup.meters, strict=True) if count})
    columns.update({f"avoided_{meter}": count for meter, count in zip(METERS, rollup.avoided, strict=True) if count})
    return Entity(names.partition(), names.row(), columns, etag)


def from_entity(entity: Entity) -> Rollup:
    columns = entity.values
    texts = {name: str(columns[name]) for name in Names._fields if name != "day"}
    return Rollup(
        names=Names(day=date.fromisoformat(str(columns["day"])), **texts),
        events=as_int(columns.get("events", 0)),
        requests=as_int(columns.get("requests", 0)),
        estimated_requests=as_int(columns.get("estimated_requests", 0)),
        avoided_requests=as_int(columns.get("avoided_requests", 0)),
        meters=tuple(as_int(columns.get(meter, 0)) for meter in METERS),
        avoided=tuple(as_int(columns.get(f"avoided_{meter}", 0)) for meter in METERS),
        duplicates=as_int(columns.get("duplicates", 0)),
        last_seq=as_int(columns.get("last_seq", 0)),
        ring=as_bytes(columns["ring"]),
    )


def mark_of(identity: str) -> bytes:
    """Return the eight bytes that stand for an id in a ring."""
    return hashlib.blake2b(identity.encode(), digest_size=_MARK_BYTES).digest()


def remembered(ring: bytes, identities: Iterable[str]) -> bytes:
    """Return the ring with these ids as its latest."""
    return (ring + b"".join(map(mark_of, identities)))[-_RING_BYTES:]


def holds(ring: bytes | bytearray, mark: bytes) -> bool:
    # A hit must start at a mark, not in the middle of two.
    place = ring.find(mark)
    while place % _MARK_BYTES and place >= 0:
        place = ring.find(mark, place + 1)
    return place >= 0
