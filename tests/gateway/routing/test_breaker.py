"""The breaker's promises, by example and against a state machine that knows only what the design says."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.routing.breaker import Breaker, BreakerRules

RULES = BreakerRules(consecutive=3, ratio=0.5, minimum=10, window=30.0, pause=5.0, longest_pause=60.0)
LONGEST = 20.0


def tripped(now: float = 0.0) -> Breaker:
    breaker = Breaker(RULES)
    for _ in range(RULES.consecutive):
        breaker.failed(now)
    assert breaker.state(now) == "open"
    return breaker


def test_stays_closed_below_its_limits() -> None:
    """Failures in a row below the limit, with successes between them, let traffic pass."""
    breaker = Breaker(BreakerRules(consecutive=3, minimum=1000))
    for now in range(100):
        breaker.failed(now)
        breaker.failed(now)
        breaker.succeeded(now)
        assert breaker.state(now) == "closed"
        assert breaker.closed_at(now) == now


def test_failures_in_a_row_trip() -> None:
    """The last of `consecutive` failures opens the breaker for exactly the pause."""
    breaker = tripped(now=100.0)
    assert breaker.closed_at(100.0) == 105.0
    assert breaker.state(104.9) == "open"
    assert breaker.state(105.0) == "half-open"


def test_a_ratio_of_failures_trips() -> None:
    """Half of enough outcomes inside the window trips, though no two failures came in a row."""
    breaker = Breaker(RULES)
    for _ in range(4):
        breaker.succeeded(1.0)
        breaker.failed(1.0)
    breaker.succeeded(1.0)
    assert breaker.state(1.0) == "closed"
    breaker.failed(1.0)
    assert breaker.state(1.0) == "open"


def test_old_outcomes_do_not_count() -> None:
    """Outcomes that are older than the window are forgotten."""
    breaker = Breaker(RULES)
    for _ in range(4):
        breaker.failed(0.0)
        breaker.succeeded(0.0)
    breaker.failed(31.0)
    breaker.failed(31.0)
    assert breaker.state(31.0) == "closed"


def test_one_probe_at_a_time() -> None:
    """In half-open a second attempt has to wait until the probe's outcome, or until the probe is given up."""
    breaker = tripped()
    breaker.admit(5.0, LONGEST)
    assert breaker.closed_at(6.0) == 25.0
    assert breaker.closed_at(25.0) == 25.0


def test_a_probe_that_succeeds_closes() -> None:
    """A success lets all traffic through, and the next trip begins with the shortest pause again."""
    breaker = tripped()
    breaker.admit(5.0, LONGEST)
    breaker.failed(5.0)
    breaker.admit(15.0, LONGEST)
    breaker.succeeded(15.0)
    assert breaker.state(15.0) == "closed"
    for _ in range(RULES.consecutive):
        breaker.failed(16.0)
    assert breaker.closed_at(16.0) == 21.0


def test_failed_probes_double_the_pause() -> None:
    """Each failed probe doubles the pause, up to the longest."""
    breaker = tripped()
    now, pauses = 0.0, []
    for _ in range(200):
        pauses.append(breaker.closed_at(now) - now)
        now = breaker.closed_at(now)
        breaker.admit(now, LONGEST)
        breaker.failed(now)
    assert pauses[:5] == [5.0, 10.0, 20.0, 40.0, 60.0]
    assert set(pauses[5:]) == {60.0}


def test_many_failures_at_once_are_one_trip() -> None:
    """Attempts that were under way when the breaker tripped do not lengthen its pause as they fail too."""
    breaker = tripped()
    for _ in range(100):
        breaker.failed(0.5)
    assert breaker.closed_at(1.0) == 5.0


def test_a_probe_without_an_outcome_makes_way() -> None:
    """A probe whose caller left lets the next attempt probe at once."""
    breaker = tripped()
    breaker.admit(5.0, LONGEST)
    breaker.undecided()
    assert breaker.closed_at(6.0) == 6.0
    assert breaker.state(6.0) == "half-open"


# Parts of two, so that sums and differences of times are exact.
LENGTHS = st.integers(0, 80 * 1024).map(lambda parts: parts / 1024)


class BreakerMachine(RuleBasedStateMachine):
    """Attempts begin where the breaker lets them and end in any order, some of them never."""

    @initialize()
    def start(self) -> None:
        self.breaker = Breaker(RULES)
        self.now = 0.0
        self.under_way = 0
        self.row = 0
        self.tripped_at: float | None = None
        self.probe_at: float | None = None

    @rule(seconds=LENGTHS)
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def attempt(self) -> None:
        if self.breaker.closed_at(self.now) > self.now:
            return
        if self.tripped_at is not None:
            assert self.now - self.tripped_at >= RULES.pause, "traffic inside the pause"
            assert self.probe_at is None or self.now - self.probe_at >= LONGEST, "two probes at once"
            self.probe_at = self.now
        self.breaker.admit(self.now, LONGEST)
        self.under_way += 1

    @precondition(lambda self: self.under_way)
    @rule()
    def success(self) -> None:
        self.under_way -= 1
        self.breaker.succeeded(self.now)
        assert self.breaker.state(self.now) == "closed"
        self.row, self.tripped_at, self.probe_at = 0, None, None

    @precondition(lambda self: self.under_way)
    @rule()
    def failure(self) -> None:
        self.under_way -= 1
        self.row += 1
        before = self.breaker.state(self.now)
        self.breaker.failed(self.now)
        after = self.breaker.state(self.now)
        if before == "closed":
            assert self.row < RULES.consecutive or after == "open"
        if before == "open":
            assert after == "open"
        if after == "open" and (before == "closed" or self.probe_at is not None):
            self.tripped_at, self.probe_at = self.now, None

    @precondition(lambda self: self.under_way)
    @rule()
    def departure(self) -> None:
        self.under_way -= 1
        self.breaker.undecided()
        self.probe_at = None

    @invariant()
    def never_shut_for_good(self) -> None:
        if hasattr(self, "breaker"):
            wait = self.breaker.closed_at(self.now) - self.now
            assert 0 <= wait <= max(RULES.longest_pause, LONGEST)
            assert (self.breaker.state(self.now) == "closed") == (self.tripped_at is None)


BreakerMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestBreakerMachine = pytest.mark.timeout(60)(BreakerMachine.TestCase)


def test_attempts_from_before_the_trip_say_nothing() -> None:
    """What began before the trip neither closes the breaker, nor lengthens its pause, nor lets a second probe start."""
    breaker = Breaker(BreakerRules(consecutive=2, pause=5.0))
    breaker.failed(1.0, since=0.5)
    assert breaker.failed(2.0, since=0.6)
    assert not breaker.succeeded(3.0, since=1.5)
    assert not breaker.failed(3.0, since=1.5)
    assert breaker.closed_at(3.0) == 7.0
    breaker.admit(7.0, 20.0)
    breaker.undecided(since=1.5)
    assert not breaker.failed(8.0, since=1.5)
    assert breaker.closed_at(8.0) == 27.0
    assert breaker.succeeded(9.0, since=7.0)
    assert breaker.state(9.0) == "closed"
