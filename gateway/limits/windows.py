"""A rate limit: the requests or tokens of the last minute, over a window that slides.

It slides because a fixed minute lets twice the limit through around its turn, and a bucket that fills at a steady pace
nearly twice in its first minute: here no 60 seconds ever see more than the limit. Takings within a twentieth of a
second are one entry, as old as its youngest, so that a window never has more than some 1,200.

What other instances took comes from the shared row, by the second. Pure: the time is an argument.
"""

import heapq
import math
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from gateway.limits.periods import Moment

SPAN: Final = 60.0
GRAIN: Final = 0.05
CLOCKS_APART: Final = 60
"""Seconds that another instance's clock may be ahead; what it claims beyond is not believed."""


class Entry:
    """What was taken within one grain; a later settlement changes it while it is in the window."""

    __slots__ = ("amount", "at", "first", "live")

    def __init__(self, at: float, amount: int) -> None:
        self.first = at
        self.at = at
        self.amount = amount
        self.live = True


@dataclass(frozen=True, slots=True)
class WindowUpdate:
    """What the shared row becomes, and what this instance knows once it is written. Amounts by wall-clock second."""

    row: dict[int, int]
    told: dict[int, int]
    others: dict[int, int]
    untold: int
    lease: int


class Window:
    """`limit` per minute. `ahead` is what this instance may take beyond what the shared row knows.

    `untold` is what it has taken and not told, negative while a lease is at hand; `wanted` is what waits for a lease.
    """

    __slots__ = ("_entries", "_others", "_others_total", "_taken", "_told", "ahead", "limit", "untold", "wanted")

    def __init__(self, limit: int, ahead: int) -> None:
        self.limit = limit
        self.ahead = ahead
        self.untold = 0
        self.wanted = 0
        self._entries: deque[Entry] = deque()
        self._taken = 0
        self._told: dict[int, int] = {}
        self._others: deque[tuple[float, int]] = deque()
        self._others_total = 0

    def total(self, moment: Moment) -> int:
        """Return what all instances took within the last SPAN seconds, as far as this one knows."""
        horizon = moment.now - SPAN
        entries = self._entries
        while entries and entries[0].at <= horizon:
            entry = entries.popleft()
            entry.live = False
            self._taken -= entry.amount
        while self._others and self._others[0][0] <= moment.now:
            self._others_total -= self._others.popleft()[1]
        return self._taken + self._others_total

    def fits(self, amount: int, moment: Moment) -> bool:
        return not amount or self.total(moment) + amount <= self.limit

    def short(self, amount: int) -> bool:
        """Tell whether `amount` is more than this instance may take on its own word."""
        return bool(amount) and self.untold + amount > self.ahead

    def take(self, amount: int, moment: Moment) -> Entry:
        entries = self._entries
        if entries and moment.now - entries[-1].first < GRAIN:
            entry = entries[-1]
            entry.amount += amount
            entry.at = moment.now
        else:
            entry = Entry(moment.now, amount)
            entries.append(entry)
        self._taken += amount
        self.untold += amount
        return entry

    def adjust(self, entry: Entry, difference: int, moment: Moment) -> None:
        """Add a settlement's difference to what was taken. What has left the window is given back by then."""
        self.total(moment)
        if entry.live:
            entry.amount += difference
            self._taken += difference
            self.untold += difference
        elif difference > 0:
            self.take(difference, moment)

    def wait(self, amount: int, moment: Moment) -> float:
        """Return the seconds until `amount` fits; until the window is empty where it never will."""
        surplus = self.total(moment) + amount - self.limit
        last = 0.0
        for leaves, left in self._leaving():
            if surplus <= 0:
                break
            surplus -= left
            last = leaves - moment.now
        return max(last, 0.0)

    def reset(self, moment: Moment) -> float:
        """Return the seconds until the window is empty, if nothing more is taken."""
        self.total(moment)
        own = self._entries[-1].at + SPAN if self._entries else moment.now
        others = self._others[-1][0] if self._others else moment.now
        return max(own, others) - moment.now

    def update(self, row: Mapping[int, int], moment: Moment) -> WindowUpdate:
        """Return how to write this instance's takings into the row, with a lease for what waits."""
        told = self._by_second(moment)
        others = {
            second: rest
            for second, amount in row.items()
            if _live(second, moment) and (rest := amount - self._told.get(second, 0)) > 0
        }
        free = self.limit - sum(told.values()) - sum(others.values())
        lease = max(0, min(self.wanted, free))
        if lease:
            second = math.floor(moment.wall)
            told[second] = told.get(second, 0) + lease
        both = {second: told.get(second, 0) + others.get(second, 0) for second in sorted(told.keys() | others.keys())}
        return WindowUpdate(both, told, others, self.untold, lease)

    def accept(self, update: WindowUpdate, moment: Moment) -> None:
        """Note that the row was written so."""
        self._told = {second: amount for second, amount in update.told.items() if _live(second, moment)}
        self._others = deque(
            (second + 1 + SPAN - moment.shift, amount) for second, amount in sorted(update.others.items())
        )
        self._others_total = sum(update.others.values())
        self.untold -= update.untold + update.lease

    def _by_second(self, moment: Moment) -> dict[int, int]:
        self.total(moment)
        seconds: dict[int, int] = {}
        for entry in self._entries:
            second = math.floor(entry.at + moment.shift)
            seconds[second] = seconds.get(second, 0) + entry.amount
        return seconds

    def _leaving(self) -> Iterator[tuple[float, int]]:
        own = ((entry.at + SPAN, entry.amount) for entry in self._entries)
        return heapq.merge(own, self._others)


def _live(second: int, moment: Moment) -> bool:
    return moment.wall - SPAN - 1 < second <= moment.wall + CLOCKS_APART
