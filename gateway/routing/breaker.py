"""A circuit breaker: closed lets traffic through, open none, half-open one probe whose outcome decides.

Pure: the time comes in as monotonic seconds. A backend that throttles is healthy; its 429s never come here.
"""

from dataclasses import dataclass
from typing import Literal

type BreakerState = Literal["closed", "open", "half-open"]


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """When to trip: `consecutive` failures in a row, or `ratio` of at least `minimum` outcomes inside `window` seconds.

    An open breaker lets a probe through after `pause` seconds; a failed probe doubles the pause up to `longest_pause`.
    """

    consecutive: int = 5
    ratio: float = 0.5
    minimum: int = 20
    window: float = 30.0
    pause: float = 5.0
    longest_pause: float = 60.0


@dataclass(slots=True)
class Breaker:
    rules: BreakerRules
    _in_a_row: int = 0
    _window_start: float = 0.0
    _outcomes: int = 0
    _failures: int = 0
    _trips: int = 0
    _open_until: float | None = None
    _probe_until: float | None = None
    _tripped_at: float = float("-inf")

    def state(self, now: float) -> BreakerState:
        if self._open_until is None:
            return "closed"
        return "open" if now < self._open_until else "half-open"

    def closed_at(self, now: float) -> float:
        """Return when traffic may next pass; `now` where it may pass already."""
        if self._open_until is None:
            return now
        return max(now, self._open_until, self._probe_until or now)

    def admit(self, now: float, longest: float) -> None:
        """Note that an attempt starts. In half-open it is the probe: no other passes before its outcome.

        A probe that is never heard of again blocks for at most `longest` seconds.
        """
        if self._open_until is not None:
            self._probe_until = now + longest

    def succeeded(self, now: float, since: float | None = None) -> bool:
        """Note an answer to an attempt that began at `since`, or now; return whether it closed the breaker."""
        if self._began_before_the_trip(since):
            return False
        closes = self._open_until is not None
        self._open_until = self._probe_until = None
        self._in_a_row = self._trips = 0
        self._count(now, failures=0)
        return closes

    def failed(self, now: float, since: float | None = None) -> bool:
        """Note the failure of an attempt that began at `since`; return whether it opened the breaker."""
        if self._began_before_the_trip(since):
            return False
        self._in_a_row += 1
        self._count(now, failures=1)
        # Open and without a probe under way, it is an attempt that began before the trip, and tells nothing new: many
        # of them at once would lengthen the pause to its limit.
        trips = self._trips_now() if self._open_until is None else self._probe_until is not None
        if trips:
            self._trip(now)
        return trips

    def undecided(self, since: float | None = None) -> None:
        """Note that an attempt ended without an outcome: its caller left. The next one may probe."""
        if not self._began_before_the_trip(since):
            self._probe_until = None

    def _began_before_the_trip(self, since: float | None) -> bool:
        # What such an attempt tells is older than the trip, and is no word on the probe that may be under way.
        return self._open_until is not None and since is not None and since < self._tripped_at

    def _count(self, now: float, failures: int) -> None:
        if now - self._window_start > self.rules.window:
            self._window_start, self._outcomes, self._failures = now, 0, 0
        self._outcomes += 1
        self._failures += failures

    def _trips_now(self) -> bool:
        if self._in_a_row >= self.rules.consecutive:
            return True
        return self._outcomes >= self.rules.minimum and self._failures >= self.rules.ratio * self._outcomes

    def _trip(self, now: float) -> None:
        pause = min(self.rules.pause * 2**self._trips, self.rules.longest_pause)
        self._trips = min(self._trips + 1, 16)
        self._open_until, self._probe_until, self._tripped_at = now + pause, None, now
        self._outcomes = self._failures = 0
