"""A lane's progress by one batch: what came of which kind, what was missing, which calls began and ended. Pure.

It repeats safely: numbers at or below the head's `last_seq` are in the books already and change nothing.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, fields
from datetime import date, datetime, timedelta
from typing import Final, NamedTuple, Self

from chargeback.lanes import intents
from chargeback.lanes.intents import OpenCall, OpenRows
from chargeback.lanes.lanes import MAX_GAPS, Head, LaneDay
from chargeback.ledger import rollups
from gateway.usage import Intent, Record, UsageEvent, Withdrawal

CLOCKS_DIFFER: Final = timedelta(minutes=1)
_LONGEST_WITHDRAWN: Final = timedelta(hours=1)


class Arrival(NamedTuple):
    """What came under a number of a lane; `record` None is a dead letter. `enqueued_at` is in UTC."""

    sequence_number: int
    enqueued_at: datetime
    record: Record | None


@dataclass(frozen=True, slots=True)
class LaneState:
    """A lane's rows, with its latest day alone; that is None before the first, and where it is known to be over."""

    head: Head = field(default_factory=Head)
    day: LaneDay | None = None
    open: OpenRows = field(default_factory=dict)


class Stray(NamedTuple):
    """A call that ended while no intent of it was open. It began not before `began` and ended at `ended`.

    `older`: it may have begun before anything of its lane was enqueued, so that its intent may lie in another.
    """

    id: str
    subscription: str
    began: datetime
    ended: datetime
    older: bool


@dataclass(frozen=True, slots=True)
class Step:
    """What a batch makes of a lane.

    `days` are the day rows that changed, in order; the last is the state's. `taken_back` are calls that ended when they
    were about to become orphans; `strays` may have become orphans before, or do so yet in another lane.
    """

    state: LaneState
    days: tuple[LaneDay, ...]
    taken_back: tuple[OpenCall, ...]
    strays: tuple[Stray, ...]


def advance(before: LaneState, arrivals: Iterable[Arrival]) -> Step | None:
    """Return the step, or None where every number is in the books; arrivals come in the order of their numbers."""
    walk = _Walk(before)
    for number, enqueued_at, record in arrivals:
        if number > walk.last_seq:
            walk.take(number, enqueued_at, record)
    return walk.step() if walk.last_seq > before.head.last_seq else None


@dataclass(slots=True)
class _Tally:
    """A day's row while numbers are added to it; the fields are LaneDay's."""

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
    gaps: list[tuple[int, int]] = field(default_factory=list)
    event_days: Counter[date] = field(default_factory=Counter)

    @classmethod
    def of(cls, day: LaneDay) -> Self:
        plain = {one.name: getattr(day, one.name) for one in fields(cls)}
        return cls(**plain | {"gaps": list(day.gaps), "event_days": Counter(day.event_days)})

    def row(self) -> LaneDay:
        plain = {one.name: getattr(self, one.name) for one in fields(self)}
        return LaneDay(**plain | {"gaps": tuple(self.gaps), "event_days": dict(self.event_days)})

    def miss(self, first: int, last: int) -> None:
        self.missing += last - first + 1
        if len(self.gaps) < MAX_GAPS:
            self.gaps.append((first, last))


class _Walk:
    """One batch's way through a lane; it lives as long as `advance`."""

    def __init__(self, before: LaneState) -> None:
        self.last_seq = before.head.last_seq
        self._before = before
        self._since = before.head.since
        self._enqueued_at = before.head.enqueued_at
        self._last_intent_at = before.head.last_intent_at
        self._tallies = [] if before.day is None else [_Tally.of(before.day)]
        self._opening: dict[str, OpenCall] = {}
        self._ended: dict[str, UsageEvent | Withdrawal] = {}

    def take(self, number: int, enqueued_at: datetime, record: Record | None) -> None:
        # A hub's clock may go back when one broker follows another; a lane's days never do.
        self._enqueued_at = max(self._enqueued_at, enqueued_at)
        if self.last_seq < 0:
            self._since = self._enqueued_at
        tally = self._tally(self._enqueued_at.date(), number)
        if number > self.last_seq + 1:
            tally.miss(self.last_seq + 1, number - 1)
        self.last_seq = tally.last_seq = number
        if isinstance(record, UsageEvent):
            tally.usage_events += 1
            tally.event_days[rollups.day_of(record)] += 1
            # A further attempt's event does not end its call.
            if not record.parent:
                self._ended[record.id] = record
        elif isinstance(record, Intent):
            tally.intents += 1
            self._last_intent_at = max(self._last_intent_at, record.time)
            self._opening[record.id] = intents.open_call(record)
        elif isinstance(record, Withdrawal):
            tally.withdrawals += 1
            self._ended[record.id] = record
        else:
            tally.dead_letters += 1

    def step(self) -> Step:
        rows = self._before.open.values()
        closed = {name: row.calls[name] for row in rows for name in row.calls.keys() & self._ended.keys()}
        opened, untracked = intents.rearranged(self._before.open, self._newly_open(), closed.keys())
        self._tallies[-1].untracked_intents += untracked
        days = tuple(tally.row() for tally in self._tallies)
        return Step(
            state=LaneState(self._head(), days[-1], opened),
            days=days if self._before.day is None or days[0] != self._before.day else days[1:],
            taken_back=tuple(call for call in closed.values() if call.pending),
            strays=tuple(self._strays(closed.keys() | self._opening.keys())),
        )

    def _tally(self, day: date, number: int) -> _Tally:
        if not self._tallies or day > self._tallies[-1].day:
            self._tallies.append(_Tally(day, begins=self.last_seq + 1, first_seq=number, last_seq=number))
        return self._tallies[-1]

    def _newly_open(self) -> dict[str, OpenCall]:
        """Leave out what ended, too: a publisher that lost an acknowledgement may send an intent after its end."""
        known, rows = self._before.head.ended, self._before.open.values()
        return {
            name: call
            for name, call in self._opening.items()
            if name not in self._ended
            and not any(name in row.calls for row in rows)
            and not rollups.holds(known, rollups.mark_of(name))
        }

    def _head(self) -> Head:
        ended = rollups.remembered(self._before.head.ended, self._ended)
        return Head(self.last_seq, self._since, self._enqueued_at, self._last_intent_at, ended)

    def _strays(self, known: AbstractSet[str]) -> Iterator[Stray]:
        # What began after the lane's last intent has none here, and what began after the lane has none elsewhere.
        announced, since = self._before.head.last_intent_at + CLOCKS_DIFFER, self._since + CLOCKS_DIFFER
        for name, record in self._ended.items():
            if name in known or _was_cached(record):
                continue
            began = record.time - _longest(record)
            if began <= announced or began <= since:
                yield Stray(name, record.subscription, began, record.time, older=began <= since)


def _was_cached(record: UsageEvent | Withdrawal) -> bool:
    """Tell whether no backend was asked, so that there is no intent."""
    return isinstance(record, UsageEvent) and not record.attempts


def _longest(record: UsageEvent | Withdrawal) -> timedelta:
    """Return how long before its end a call began; of a withdrawn one only the bound is known."""
    if isinstance(record, Withdrawal):
        return _LONGEST_WITHDRAWN
    return timedelta(milliseconds=record.latency_ms)
