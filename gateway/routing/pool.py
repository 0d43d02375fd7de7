"""Which backend serves: the first tier with a member that may be used, and inside it as `gateway.routing.choice` says.

A member may be used while it is not cooling down, its backend's breaker lets traffic through, and this call has not
tried it. Cooldowns belong to a deployment of a backend, as Azure's limits do; breakers to the backend.
"""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime

from gateway.catalog.catalog import Deployment, Member
from gateway.observer import UNOBSERVED, Observer
from gateway.routing.breaker import Breaker, BreakerRules, BreakerState
from gateway.routing.choice import choose_member
from gateway.routing.cooldown import cooldown


class Pool:
    """Health of every backend, as this instance saw it. Times are monotonic seconds; no I/O."""

    def __init__(
        self,
        random: Callable[[], float],
        rules: BreakerRules,
        longest_attempt: float,
        observer: Observer = UNOBSERVED,
    ) -> None:
        """Take `random` for numbers in [0, 1), and `longest_attempt`, the seconds after which a probe is given up."""
        self._random = random
        self._rules = rules
        self._longest_attempt = longest_attempt
        self._observer = observer
        self._breakers: dict[str, Breaker] = {}
        self._cooling: dict[tuple[str, str], float] = {}
        self._throttled: dict[tuple[str, str], int] = {}
        self._loads: dict[Member, int] = {}

    def choose(
        self, deployment: Deployment, tried: Collection[Member], now: float, prompt: bytes = b""
    ) -> Member | None:
        """Return the member to try next, None where all are out; see `choose_member` for `prompt`.

        It counts as tried by its breaker, and as under way until it is released.
        """
        for tier in deployment.tiers:
            usable = [member for member in tier if self._recovery(member, now) <= now and member not in tried]
            if usable:
                member = choose_member(usable, self._loads, prompt, self._random)
                self._loads[member] = self._loads.get(member, 0) + 1
                self._breaker(member).admit(now, self._longest_attempt)
                return member
        return None

    def released(self, member: Member) -> None:
        """Note that a call is under way no more at a member that was chosen for it."""
        self._loads[member] -= 1

    def earliest_recovery(self, deployment: Deployment, now: float) -> float:
        """Return seconds until the first member may be used again; 0 where one may be used now."""
        return min(self._recovery(member, now) for tier in deployment.tiers for member in tier) - now

    def throttling(self, deployment: Deployment, now: float) -> bool:
        """Tell whether the first member to come back is out because it throttles, not because it fails."""
        members = [member for tier in deployment.tiers for member in tier]
        first = _key(min(members, key=lambda member: self._recovery(member, now)))
        return first in self._throttled and self._cooling.get(first, now) > now

    def answered(self, member: Member, now: float, since: float | None = None) -> None:
        """Note an answer; `since` is when the attempt began, here and below."""
        self._throttled.pop(_key(member), None)
        if self._breaker(member).succeeded(now, since):
            self._observer.breaker_changed(member.backend.name, "closed")

    def failed(self, member: Member, now: float, since: float | None = None) -> None:
        """Note a connect error, a time-out, garbage or a 5xx."""
        if self._breaker(member).failed(now, since):
            self._observer.breaker_changed(member.backend.name, "open")

    def undecided(self, member: Member, since: float | None = None) -> None:
        """Note that the caller left before the backend showed how it is."""
        self._breaker(member).undecided(since)

    def throttled(
        self, member: Member, headers: Mapping[str, str], now: float, wall: datetime, since: float | None = None
    ) -> float:
        """Let the member cool down as its 429 asks; return the seconds until it may be used again."""
        key = _key(member)
        in_a_row = self._throttled[key] = self._throttled.get(key, 0) + 1
        self._breaker(member).undecided(since)
        return self.cool(member, cooldown(headers, wall, in_a_row), now)

    def told(self, backend: str, deployment: str, seconds: float, now: float) -> None:
        """Take over from another instance that a deployment of a backend throttles."""
        self._throttled.setdefault((backend, deployment), 1)
        self._cool((backend, deployment), seconds, now)

    def cool(self, member: Member, seconds: float, now: float) -> float:
        """Leave the member alone for `seconds`, or longer where it is left alone longer already."""
        self._observer.cooled(member, seconds)
        return self._cool(_key(member), seconds, now)

    def _cool(self, key: tuple[str, str], seconds: float, now: float) -> float:
        until = max(now + seconds, self._cooling.get(key, now))
        self._cooling[key] = until
        return until - now

    def breaker_states(self, now: float) -> Mapping[str, BreakerState]:
        """Return the state of each backend's breaker, of those that were tried."""
        return {name: breaker.state(now) for name, breaker in self._breakers.items()}

    def cooldowns(self, now: float) -> Mapping[tuple[str, str], float]:
        """Return the seconds that each deployment of a backend still cools down, of those that do."""
        return {key: until - now for key, until in self._cooling.items() if until > now}

    def _recovery(self, member: Member, now: float) -> float:
        recovery = self._cooling.get(_key(member), now) if self._cooling else now
        breaker = self._breakers.get(member.backend.name)
        return max(recovery, now) if breaker is None else max(recovery, breaker.closed_at(now))

    def _breaker(self, member: Member) -> Breaker:
        breaker = self._breakers.get(member.backend.name)
        if breaker is None:
            breaker = self._breakers[member.backend.name] = Breaker(self._rules)
        return breaker


def _key(member: Member) -> tuple[str, str]:
    return member.backend.name, member.deployment
