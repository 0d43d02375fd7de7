"""How requests to the outside leave: the seam whose implementation, with a real HTTP client, is in `hosting`.

OutboundError
|- AddressForbidden  the host's name leads to an address that is not public; sending again will not help soon
`- Unreachable       no connection, no answer in time, or one that is not HTTP
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

LONGEST_ANSWER: Final = 64 * 1024
"""Bytes of an answer's body that are read."""


class OutboundError(Exception):
    """The message is for the owner of the job and holds no secret."""


class AddressForbidden(OutboundError):
    pass


class Unreachable(OutboundError):
    pass


@dataclass(frozen=True, slots=True)
class Request:
    """`loopback` allows the one address that is never public otherwise: the operator's list names this machine."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    loopback: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """Header names are lower-case. `body` holds at most LONGEST_ANSWER bytes."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class Outbound(Protocol):
    async def send(self, request: Request) -> Answer:
        """Send one request and return its answer, within a bounded time.

        The host's name is resolved once, every address it has is checked, and the connection goes to one of those. No
        redirect is followed. Raises OutboundError.
        """
        ...

    async def close(self) -> None: ...
