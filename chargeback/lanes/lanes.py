"""Lanes: what was taken from each partition of each incarnation of the hub, number by number. Pure: no I/O, no clock.

The journal of a lane tells the close of the day what came, and the orphan sweep which calls are still open. Table
`lanes`; every row of a lane lies in one partition and is written in one transaction, under the ETags that were read:

    PartitionKey      RowKey          columns
    lanes             {lane}          lane, incarnation, partition: the index, written before a lane's first other row
    {lane}            head            last_seq, since, enqueued_at, last_intent_at, ended; see Head
    {lane}            day|{yyyymmdd}  begins, first_seq, last_seq, usage_events, intents, withdrawals, dead_letters,
                                      untracked_intents, missing, gaps, event_days; see LaneDay
    {lane}            open|{nnnn}     calls: open intents, see chargeback.lanes.intents; no row is without any

A lane's name is `{incarnation}.{partition}`, and keys are escaped by `chargeback.keys.key`. Counts of 0 have no column
of their own, but for begins, first_seq and last_seq. `gaps` is JSON, [[from, to], ...]; `event_days` is JSON,
{"yyyymmdd": usage events whose answer ended on that day}; times are columns of that type.

Every sequence number of a lane belongs to exactly one day row: that of its enqueue day in UTC, or of a later one where
the hub's clock went back. Days follow each other without a hole, so for each row

    last_seq - begins + 1 == usage_events + intents + withdrawals + dead_letters + missing

and for a lane and an event day, over all of the lane's rows: sum of event_days == sum of rollups' events + duplicates.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Final, NamedTuple

from chargeback.columns import as_bytes, as_datetime, as_int
from chargeback.keys import key
from seams.tables import Entity, Value

LANES: Final = "lanes"
INDEX: Final = "lanes"
"""The index's PartitionKey. No lane is called so, since a lane's name holds a dot."""

HEAD: Final = "head"
MAX_GAPS: Final = 100
"""Gaps that a day's row names; `missing` counts the numbers of further ones, too."""

_COUNTS: Final = ("usage_events", "intents", "withdrawals", "dead_letters", "untracked_intents", "missing")
BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""A time that has not come: Table storage knows none before 1601."""


class Lane(NamedTuple):
    """One partition of one incarnation of the hub."""

    incarnation: str
    partition: str

    @property
    def name(self) -> str:
        return f"{self.incarnation}.{self.partition}"

    def key(self) -> str:
        return key(self.name)


@dataclass(frozen=True, slots=True)
class Head:
    """How far a lane has been taken.

    `last_seq` is the last number that is in the books, -1 before the first: what is delivered again changes nothing.
    `since` is when the first of them was enqueued, `enqueued_at` the latest such time, `last_intent_at` the latest
    beginning of a call that announced itself. `ended` holds the marks (see `chargeback.ledger.rollups`) of the last
    512 calls that ended.
    """

    last_seq: int = -1
    since: datetime = BEGINNING
    enqueued_at: datetime = BEGINNING
    last_intent_at: datetime = BEGINNING
    ended: bytes = b""


@dataclass(frozen=True, slots=True)
class LaneDay:
    """A lane's numbers begins..last_seq, which were enqueued on `day`; all but the missing ones were received.

    `begins` follows the last number of the lane's day before; it is 0 on the lane's first day, so that what had left
    the hub before anybody read it counts as missing. `gaps` are [from, to], both missing. `untracked_intents` are those
    of `intents` that found no room: their calls cannot become orphans. `event_days` counts usage events by the UTC day
    on which their answers ended.
    """

    day: date
    begins: int
    first_seq: int
    last_seq: int
    usage_events: int = 0
    intents: int = 0
    withdrawals: int = 0
    dead_letters: int = 0
    untracked_intents: int = 0
    missing: int = 0
    gaps: tuple[tuple[int, int], ...] = ()
    event_days: Mapping[date, int] = field(default_factory=dict)

    @property
    def received(self) -> int:
        return self.usage_events + self.intents + self.withdrawals + self.dead_letters

    @property
    def emitted(self) -> int:
        """How many numbers the hub gave out in this row's range."""
        return self.last_seq - self.begins + 1


def day_row(day: date) -> str:
    """Return the RowKey of an enqueue day."""
    return key("day", f"{day:%Y%m%d}")


def index_entity(lane: Lane) -> Entity:
    return Entity(INDEX, lane.key(), {"lane": lane.name, "incarnation": lane.incarnation, "partition": lane.partition})


def lane_of(entity: Entity) -> Lane:
    """Read a row of the index."""
    return Lane(str(entity.values["incarnation"]), str(entity.values["partition"]))


def head_entity(lane: Lane, head: Head, etag: str | None) -> Entity:
    columns: dict[str, Value] = {
        "last_seq": head.last_seq,
        "since": head.since,
        "enqueued_at": head.enqueued_at,
        "last_intent_at": head.last_intent_at,
        "ended": head.ended,
    }
    return Entity(lane.key(), HEAD, columns, etag)


def head_of(entity: Entity) -> Head:
    columns = entity.values
    return Head(
        as_int(columns["last_seq"]),
        as_datetime(columns["since"]),
        as_datetime(columns["enqueued_at"]),
        as_datetime(columns["last_intent_at"]),
        as_bytes(columns["ended"]),
    )


def day_entity(lane: Lane, day: LaneDay, etag: str | None) -> Entity:
    columns: dict[str, Value] = {"begins": day.begins, "first_seq": day.first_seq, "last_seq": day.last_seq}
    columns |= {name: count for name in _COUNTS if (count := getattr(day, name))}
    if day.gaps:
        columns["gaps"] = json.dumps(day.gaps)
    if day.event_days:
        columns["event_days"] = json.dumps({f"{one:%Y%m%d}": count for one, count in sorted(day.event_days.items())})
    return Entity(lane.key(), day_row(day.day), columns, etag)


def day_of_entity(entity: Entity) -> LaneDay:
    """Read a day's row."""
    columns = entity.values
    counts = {name: as_int(columns.get(name, 0)) for name in _COUNTS}
    gaps = json.loads(str(columns.get("gaps", "[]")))
    days = json.loads(str(columns.get("event_days", "{}")))
    return LaneDay(
        day=date.fromisoformat(entity.row.removeprefix(key("day", ""))),
        begins=as_int(columns["begins"]),
        first_seq=as_int(columns["first_seq"]),
        last_seq=as_int(columns["last_seq"]),
        gaps=tuple((first, last) for first, last in gaps),
        event_days={date.fromisoformat(day): count for day, count in days.items()},
        **counts,
    )
