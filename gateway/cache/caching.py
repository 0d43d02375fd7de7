"""What the answer cache knows of one call: the answer that it keeps for it, or how far the call has come to one."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from gateway.cache.turns import Turn
from gateway.usage import DeploymentType, Meters

type Verdict = Literal[b"hit", b"miss", b"bypass"]

LONGEST_ANSWER: Final = 512 * 1024
"""Bytes; a row of the table takes 1 MiB in all, and the front is bounded."""


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer of status 200 as its caller got it, and what it cost. Times are aware, in UTC.

    `body` is JSON, or where `streamed` the bytes of the event stream. `model` has its version, as the answer named it.
    """

    body: bytes = field(repr=False)
    content_type: bytes
    streamed: bool
    kept_at: datetime
    expires_at: datetime
    meters: Meters
    model: str
    service_tier: str
    backend: str
    deployment_type: DeploymentType
    region: str


@dataclass(slots=True)
class Caching:
    """Per-call state. `scope` is whose answers may serve it, `key` what it asks; both are digests in hexadecimal.

    `keeps`: its answer is to be kept. `leads`: other calls that ask the same wait for its answer. `turn` is set where
    an answer to a similar question will do; `vector` once it was asked for.
    """

    verdict: Verdict
    scope: str = ""
    key: str = ""
    keeps: bool = False
    leads: bool = False
    turn: Turn | None = None
    vector: list[float] | None = None
    hit: KeptAnswer | None = None
    fresh: KeptAnswer | None = None
    _recorded: list[bytes] = field(default_factory=list)
    _size: int = 0

    def record(self, block: bytes) -> None:
        """Take the next bytes of a stream that the caller gets."""
        if self.keeps:
            self._recorded.append(block)
            self._size += len(block)
            if self._size > LONGEST_ANSWER:
                self.keeps = False
                self._recorded.clear()

    @property
    def recorded(self) -> bytes:
        return b"".join(self._recorded)


BYPASS: Final[Verdict] = b"bypass"
HIT: Final[Verdict] = b"hit"
MISS: Final[Verdict] = b"miss"
