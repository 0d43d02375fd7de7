"""Which backend serves, for any health that a pool's members can be in."""

import random
from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.catalog.catalog import Backend, Deployment, ManagedIdentity, Member
from gateway.routing.breaker import BreakerRules
from gateway.routing.pool import Pool

RULES = BreakerRules(consecutive=2, pause=5.0)
LONGEST = 20.0
WALL = datetime(2026, 3, 1, tzinfo=UTC)


def member(name: str, priority: int = 1, weight: float = 1, deployment: str = "gpt-4o") -> Member:
    backend = Backend(name, f"https://{name}.example", "paygo", "global", "", ManagedIdentity())
    return Member(backend, deployment, priority, weight)


def deployment(*tiers: tuple[Member, ...]) -> Deployment:
    return Deployment("gpt-4o", "gpt-4o", tiers)


def pool(source: float = 0.5) -> Pool:
    return Pool(lambda: source, RULES, LONGEST)


def test_priority_first() -> None:
    """The first tier serves as long as it can."""
    ptu, paygo = member("ptu"), member("paygo", 2)
    assert pool().choose(deployment((ptu,), (paygo,)), [], 0.0) is ptu


def test_spillover_and_return() -> None:
    """A throttled first tier hands over to the second, and takes over again when its cooldown is past."""
    ptu, paygo = member("ptu"), member("paygo", 2)
    both, chosen = pool(), deployment((ptu,), (paygo,))
    assert both.throttled(ptu, {"retry-after": "10"}, 0.0, WALL) == 10.0
    assert both.choose(chosen, [], 9.9) is paygo
    assert both.choose(chosen, [], 10.0) is ptu


def test_none_left() -> None:
    """Where all members are out or tried there is none, and the first recovery is known."""
    one, two = member("one"), member("two")
    both, chosen = pool(), deployment((one, two))
    both.cool(one, 30.0, 0.0)
    both.cool(two, 12.0, 0.0)
    assert both.choose(chosen, [], 0.0) is None
    assert both.earliest_recovery(chosen, 2.0) == 10.0
    assert both.choose(chosen, [one, two], 100.0) is None
    assert both.earliest_recovery(chosen, 100.0) == 0.0


def test_throttling_or_failing() -> None:
    """Throttled members are told from failing ones by the first of them to come back."""
    one, two = member("one"), member("two")
    both, chosen = pool(), deployment((one, two))
    both.throttled(one, {"retry-after": "3"}, 0.0, WALL)
    both.failed(two, 0.0)
    both.failed(two, 0.0)
    assert both.throttling(chosen, 0.0)
    both.throttled(one, {"retry-after": "30"}, 0.0, WALL)
    assert not both.throttling(chosen, 0.0)


def test_a_misconfigured_member_does_not_throttle() -> None:
    """A member that is left alone for another reason than a 429 is no reason to answer 429."""
    one = member("one")
    alone = pool()
    alone.cool(one, 30.0, 0.0)
    assert not alone.throttling(deployment((one,)), 0.0)
    told = pool()
    told.told("one", "gpt-4o", 30.0, 0.0)
    assert told.throttling(deployment((one,)), 0.0)


def test_a_cooldown_belongs_to_one_deployment() -> None:
    """A deployment that throttles leaves the other deployments of its backend alone; a dead backend takes all along."""
    here = member("one")
    there = Member(here.backend, "embed", 1, 1)
    both = pool()
    both.cool(here, 60.0, 0.0)
    assert both.choose(deployment((there,)), [], 0.0) is there
    both.failed(here, 0.0)
    both.failed(here, 0.0)
    assert both.choose(deployment((there,)), [], 0.0) is None


def test_throttling_never_trips() -> None:
    """A backend that answers 429 all day is back as soon as its last cooldown is over."""
    one = member("one")
    single, chosen = pool(), deployment((one,))
    for now in range(100):
        assert single.choose(chosen, [], now) is one
        single.throttled(one, {"retry-after": "1"}, now, WALL)
    assert single.choose(chosen, [], 100.0) is one


def test_429s_in_a_row_are_counted() -> None:
    """Without a header the cooldown doubles from one 429 to the next, and an answer ends the row."""
    one = member("one")
    single = pool()
    assert [single.throttled(one, {}, now, WALL) for now in (0.0, 10.0, 20.0)] == [1.0, 2.0, 4.0]
    single.answered(one, 30.0)
    assert single.throttled(one, {}, 40.0, WALL) == 1.0


def test_half_open_takes_one_probe() -> None:
    """After the breaker's pause one call probes; the others go to the next tier until it is decided."""
    one, two = member("one"), member("two", 2)
    both, chosen = pool(), deployment((one,), (two,))
    both.failed(one, 0.0)
    both.failed(one, 0.0)
    assert both.choose(chosen, [], 5.0) is one
    assert both.choose(chosen, [], 5.0) is two
    both.undecided(one)
    assert both.choose(chosen, [], 5.0) is one
    both.answered(one, 6.0)
    assert both.choose(chosen, [], 6.0) is one
    assert both.choose(chosen, [], 6.0) is one


def test_a_throttled_probe_makes_way() -> None:
    """A probe that is throttled shows a living backend: after the cooldown the next call probes."""
    one = member("one")
    single, chosen = pool(), deployment((one,))
    single.failed(one, 0.0)
    single.failed(one, 0.0)
    assert single.choose(chosen, [], 5.0) is one
    single.throttled(one, {"retry-after": "2"}, 5.0, WALL)
    assert single.choose(chosen, [], 6.9) is None
    assert single.choose(chosen, [], 7.0) is one


@pytest.mark.parametrize("source", [0.0, 0.25, 0.5, 0.999999999999])
def test_any_random_number_is_a_choice(source: float) -> None:
    """The whole range of a random source chooses a member."""
    members = tuple(member(f"b{place}", weight=0.1) for place in range(10))
    assert pool(source).choose(deployment(members), [], 0.0) in members


def test_shares_follow_the_weights() -> None:
    """Over many choices each member of a tier gets its weight's share."""
    members = (member("a", weight=5), member("b", weight=3), member("c", weight=2))
    source = random.Random(7)
    chosen = Counter(one.backend.name for _ in range(20_000) if (one := shares(source, members)) is not None)
    assert {name: round(count / 20_000, 2) for name, count in chosen.items()} == pytest.approx(
        {"a": 0.5, "b": 0.3, "c": 0.2}, abs=0.015
    )


def shares(source: random.Random, members: tuple[Member, ...]) -> Member | None:
    return Pool(source.random, RULES, LONGEST).choose(deployment(members), [], 0.0)


@given(st.lists(st.tuples(st.floats(0, 700), st.floats(0, 700)), min_size=1, max_size=20))
def test_a_longer_cooldown_is_never_shortened(cooldowns: list[tuple[float, float]]) -> None:
    """However cooldowns follow each other, the member is out until the latest end that any of them asked for."""
    one = member("one")
    single, chosen = pool(), deployment((one,))
    now = until = 0.0
    for passed, seconds in cooldowns:
        now += passed
        until = max(until, now + seconds)
        assert single.cool(one, seconds, now) == pytest.approx(until - now)
        assert single.earliest_recovery(chosen, now) == pytest.approx(until - now)


@given(
    st.lists(
        st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans(), st.floats(0.1, 9)), min_size=1, max_size=4),
        min_size=1,
        max_size=4,
    ),
    st.floats(0, 1, exclude_max=True),
)
def test_a_lower_tier_waits_for_all_above(tiers: list[list[tuple[bool, bool, bool, float]]], source: float) -> None:
    """The choice is a usable member of the first tier that has one; a member that is out or tried is never chosen."""
    health = pool(source)
    tried, usable = [], []
    members = [
        tuple(member(f"b{row}-{place}", row, state[3]) for place, state in enumerate(tier))
        for row, tier in enumerate(tiers)
    ]
    for tier, states in zip(members, tiers, strict=True):
        free = []
        for one, (cooling, broken, asked, _) in zip(tier, states, strict=True):
            if cooling:
                health.cool(one, 5.0, 0.0)
            if broken:
                health.failed(one, 0.0)
                health.failed(one, 0.0)
            if asked:
                tried.append(one)
            if not (cooling or broken or asked):
                free.append(one)
        usable.append(free)
    chosen = health.choose(deployment(*members), tried, 1.0)
    first = next((free for free in usable if free), [])
    assert chosen in first if first else chosen is None
