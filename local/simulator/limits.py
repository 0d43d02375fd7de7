"""Rate limits of one deployment, pure: the clock's time is an argument.

Pay-as-you-go counts requests and tokens in windows of a minute. A request's tokens are its prompt and its max_tokens,
known before it runs (Azure OpenAI, "Understanding rate limits"); where it names no maximum, the completion is added
when it is known. Provisioned throughput is a leaky bucket: it drains at the deployment's rate, and a request is refused
while it is full; a completion is corrected to what it cost (Azure OpenAI, "Provisioned throughput", utilization).
"""

from dataclasses import dataclass
from typing import Protocol

WINDOW_SECONDS = 60.0
BURST_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """What ran out (`token` or `call`), and when there is room again."""

    resource: str
    retry_after_ms: int


class Limit(Protocol):
    def admit(self, tokens: int, now: float) -> Refusal | None:
        """Count a request of so many tokens at `now` (monotonic seconds), or say why not."""
        ...

    def settle(self, estimated: int, actual: int, now: float) -> None:
        """Take notice of what a completion really cost, for which `estimated` tokens were counted at admission."""
        ...

    def headers(self, now: float) -> list[tuple[bytes, bytes]]: ...


class MinuteLimit:
    def __init__(self, tokens_per_minute: int, requests_per_minute: int) -> None:
        self._token_limit = tokens_per_minute
        self._request_limit = requests_per_minute
        self._window_start = float("-inf")
        self._tokens = 0
        self._requests = 0

    def _roll(self, now: float) -> None:
        if now - self._window_start >= WINDOW_SECONDS:
            self._window_start, self._tokens, self._requests = now, 0, 0

    def admit(self, tokens: int, now: float) -> Refusal | None:
        self._roll(now)
        wait_ms = max(1, round((self._window_start + WINDOW_SECONDS - now) * 1000))
        if self._request_limit and self._requests >= self._request_limit:
            return Refusal("call", wait_ms)
        if self._token_limit and self._tokens + tokens > self._token_limit:
            return Refusal("token", wait_ms)
        self._requests += 1
        self._tokens += tokens
        return None

    def settle(self, estimated: int, actual: int, now: float) -> None:
        self._roll(now)
        # An estimate too high is not given back; only where there was none does the truth count.
        self._tokens += 0 if estimated else actual

    def headers(self, now: float) -> list[tuple[bytes, bytes]]:
        self._roll(now)
        shown: list[tuple[bytes, bytes]] = []
        for name, limit, used in (
            (b"requests", self._request_limit, self._requests),
            (b"tokens", self._token_limit, self._tokens),
        ):
            if limit:
                shown.append((b"x-ratelimit-limit-" + name, b"%d" % limit))
                shown.append((b"x-ratelimit-remaining-" + name, b"%d" % max(0, limit - used)))
        return shown


class ProvisionedLimit:
    def __init__(self, tokens_per_minute: int) -> None:
        self._rate = tokens_per_minute / 60
        self._capacity = self._rate * BURST_SECONDS
        self._level = 0.0
        self._level_at = float("-inf")

    def _drain(self, now: float) -> None:
        if self._level:
            self._level = max(0.0, self._level - (now - self._level_at) * self._rate)
        self._level_at = now

    def admit(self, tokens: int, now: float) -> Refusal | None:
        self._drain(now)
        if self._level >= self._capacity:
            return Refusal("token", int((self._level - self._capacity) / self._rate * 1000) + 1)
        self._level += tokens
        return None

    def settle(self, estimated: int, actual: int, now: float) -> None:
        self._drain(now)
        self._level = max(0.0, self._level + actual - estimated)

    def headers(self, now: float) -> list[tuple[bytes, bytes]]:
        self._drain(now)
        return [(b"azure-openai-deployment-utilization", b"%.1f%%" % (100 * self._level / self._capacity))]


def limit_for(kind: str, tokens_per_minute: int, requests_per_minute: int) -> Limit:
    """Return the limit that a deployment's settings ask for."""
    if kind == "ptu" and tokens_per_minute:
        return ProvisionedLimit(tokens_per_minute)
    return MinuteLimit(tokens_per_minute, requests_per_minute)
