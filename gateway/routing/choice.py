"""Which of several backends that may all serve: pure choice, no state.

- The same long prompt of the same subscription prefers the same backend, whose prompt cache then holds its beginning:
  weighted rendezvous hashing (Schindelhauer and Schomaker, 2005), so that weights are kept over many prompts and one
  backend's absence moves only its own.
- Else the least loaded among members of equal weight, chance between equals.
- Else by weight.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence

from gateway.catalog.catalog import Member


def choose_member(
    members: Sequence[Member], loads: Mapping[Member, int], prompt: bytes, random: Callable[[], float]
) -> Member:
    """Return one of `members` (at least one).

    `loads` counts calls under way; `prompt` tells prompts apart that are worth keeping together, empty for others;
    `random` draws from [0, 1).
    """
    if len(members) == 1:
        return members[0]
    if prompt:
        return max(members, key=lambda member: _rendezvous(member, prompt))
    if len({member.weight for member in members}) > 1:
        return _by_weight(members, random)
    under_way = [loads.get(member, 0) for member in members]
    least = min(under_way)
    free = [member for member, calls in zip(members, under_way, strict=True) if calls == least]
    return free[int(random() * len(free))]


def _rendezvous(member: Member, prompt: bytes) -> float:
    name = f"{member.backend.name}\n{member.deployment}\n".encode()
    digest = hashlib.blake2b(name + prompt, digest_size=8).digest()
    return -member.weight / math.log((int.from_bytes(digest) + 1) / (2**64 + 2))


def _by_weight(members: Sequence[Member], random: Callable[[], float]) -> Member:
    point = random() * sum(member.weight for member in members)
    for member in members:
        point -= member.weight
        if point < 0:
            return member
    return members[-1]
