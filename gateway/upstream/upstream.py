"""How bytes get to a backend and back. One request, one answer; which backend and how often is not decided here.

UpstreamError
|- UpstreamUnreachable  no connection, or lost before the answer began: nothing was answered
|- UpstreamCut          lost in the middle of an answer
`- UpstreamNonsense     what came back is not HTTP
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


class UpstreamError(Exception):
    """The exchange with a backend broke; the message is for logs and callers alike and holds no secret."""


class UpstreamUnreachable(UpstreamError):
    pass


class UpstreamCut(UpstreamError):
    pass


class UpstreamNonsense(UpstreamError):
    pass


class Body(Protocol):
    """A request's body that is sent as it comes; each iteration begins at its first byte.

    `length` is None where it is not known. `repeatable`: another iteration may begin. `fault` is what went wrong on the
    body's own side, if anything did.
    """

    @property
    def length(self) -> int | None: ...

    @property
    def repeatable(self) -> bool: ...

    @property
    def fault(self) -> Exception | None: ...

    def __aiter__(self) -> AsyncIterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class Request:
    """`url` is percent-encoded already; `headers` holds a credential and is kept out of every repr."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | Body = field(repr=False)


class Answer(Protocol):
    """A backend's answer whose head has come. Header names are in lower case; `close` may be called twice."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Sequence[tuple[bytes, bytes]]: ...

    async def chunk(self) -> bytes:
        """Return the next bytes as soon as there are any, b"" at the end. Raises UpstreamCut."""
        ...

    def close(self) -> None:
        """Give the connection back where the answer has ended, else drop it, so that the backend stops working."""
        ...


def header(answer: Answer, name: bytes) -> bytes:
    """Return the value of a header, whose name is given in lower case; empty where there is none."""
    for each, value in answer.headers:
        if each == name:
            return value
    return b""


async def whole(answer: Answer, most: int) -> bytes:
    """Return all of an answer. Raises UpstreamNonsense past `most` bytes, and UpstreamCut."""
    parts: list[bytes] = []
    size = 0
    while part := await answer.chunk():
        parts.append(part)
        size += len(part)
        if size > most:
            raise UpstreamNonsense(f"the answer is larger than {most} bytes")
    return parts[0] if len(parts) == 1 else b"".join(parts)


class Upstream(Protocol):
    async def send(self, request: Request) -> Answer:
        """Send a request and return its answer's head.

        Time-outs are the caller's, but for the connection's own. Raises UpstreamUnreachable, UpstreamNonsense, and the
        fault of a body that is sent as it comes.
        """
        ...

    async def close(self) -> None: ...
