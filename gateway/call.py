"""One call on its way: what the caller asked for, and what has become of it so far."""

from dataclasses import dataclass, field
from typing import Protocol

from gateway.answers.streaming import StreamReader
from gateway.attempts.attempt import Attempt
from gateway.cache.caching import Caching
from gateway.catalog.catalog import Deployment, Member, Subscription
from gateway.errors import GatewayError
from gateway.identity.callers import Caller
from gateway.requests.bodies import Peek
from gateway.requests.operations import Target
from gateway.routing.home import Home
from gateway.uploads.uploads import Upload
from gateway.usage import UsageEvent


class Claim(Protocol):
    """What a call took of its subscription's limits."""

    @property
    def prompt_tokens(self) -> int:
        """What the prompt was taken for."""
        ...

    def release(self) -> None:
        """Give its place among the requests at once back: the answer is over."""
        ...

    def settle(self, events: list[UsageEvent]) -> None:
        """Put these usage events in place of what was reserved; none where no backend was at work."""
        ...


@dataclass(slots=True)
class Call:
    """Per-request state; times are monotonic seconds.

    `tried` grows with each attempt and `results` with what became of it. `broken` has the numbers, from 1, of those
    that failed after their backend had begun to answer; `answering` says that the caller has the head of its answer.
    `announced` says that an intent has told the ledger of the call, which now waits for its end. `upload` is set where
    the body is no JSON; `body` is empty then. `prompt` is the same for calls whose prompts begin alike, see
    `routing.choice`; `stored` is set where the call is about a response that a backend keeps. `limit_headers` is None
    where the subscription has no limits. `error` is what the gateway answered with where it answered itself; `caching`
    is None where the cache is off for the call; `trace` belongs to the observer.
    """

    id: str
    caller: Caller
    subscription: Subscription
    target: Target
    deployment: Deployment
    method: str
    query: str
    headers: dict[str, str]
    body: bytes
    peek: Peek
    hide_usage: bool
    started: float
    upload: Upload | None = None
    prompt: bytes = b""
    stored: Home | None = None
    labels: dict[str, str] = field(default_factory=dict)
    tried: list[Member] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    broken: list[int] = field(default_factory=list)
    attempt: Attempt | None = None
    attempt_began: float = 0.0
    reader: StreamReader | None = None
    answering: bool = False
    first_byte_at: float | None = None
    announced: bool = False
    claim: Claim | None = None
    limit_headers: list[tuple[bytes, bytes]] | None = None
    error: GatewayError | None = None
    caching: Caching | None = None
    trace: object = None

    @property
    def member(self) -> Member:
        """The backend of the latest attempt."""
        return self.tried[-1]
