"""Which of several usable backends serves."""

import random
from collections import Counter

from gateway.catalog.catalog import Backend, ManagedIdentity, Member
from gateway.routing.choice import choose_member


def member(name: str, weight: float = 1) -> Member:
    backend = Backend(name, f"https://{name}.example", "paygo", "global", "", ManagedIdentity())
    return Member(backend, "gpt-4o", 1, weight)


def test_the_least_loaded_of_equals() -> None:
    """Among members of one weight the one with the fewest calls under way serves, and chance decides a tie."""
    one, two, three = members = [member("one"), member("two"), member("three")]
    assert choose_member(members, {one: 3, two: 1, three: 2}, b"", lambda: 0.9) is two
    assert choose_member(members, {one: 3}, b"", lambda: 0.0) is two
    assert choose_member(members, {one: 3}, b"", lambda: 0.99) is three


def test_weights_go_before_loads() -> None:
    """Members of different weights share by weight, however busy they are."""
    heavy, light = member("heavy", 3), member("light", 1)
    draw = random.Random(1).random
    chosen = Counter(choose_member([heavy, light], {heavy: 100}, b"", draw).backend.name for _ in range(4000))
    assert 2850 < chosen["heavy"] < 3150


def test_a_prompt_keeps_its_backend() -> None:
    """The same prompt has the same backend; when another one is out it stays, and when its own is out it moves."""
    members = [member(name) for name in ("one", "two", "three")]
    for number in range(50):
        prompt = b"prompt %d" % number
        home = choose_member(members, {}, prompt, lambda: 0.0)
        assert choose_member(members[::-1], {home: 50}, prompt, lambda: 0.9) is home
        others = [each for each in members if each is not home]
        assert choose_member([home, others[0]], {}, prompt, lambda: 0.0) is home
        assert choose_member(others, {}, prompt, lambda: 0.0) is not home


def test_prompts_share_by_weight() -> None:
    """Over many prompts each backend has its weight's share."""
    heavy, light = member("heavy", 3), member("light", 1)
    chosen = Counter(
        choose_member([heavy, light], {}, b"prompt %d" % number, lambda: 0.0).backend.name for number in range(4000)
    )
    assert 2850 < chosen["heavy"] < 3150
