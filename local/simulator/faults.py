"""Faults on request: what is wrong, for how many requests, and for which ones.

A request is hit by the first listed fault that matches it and has hits left, by that one alone; so a list of two
faults with `times: 1` hits the first request with the one and the second with the other.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

import msgspec

Chunks = Annotated[int, msgspec.Meta(ge=0)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    value: str


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """`times` None is for ever; `operation`, `deployment` and `header` narrow which requests it hits."""

    times: Annotated[int, msgspec.Meta(ge=1)] | None = None
    operation: str | None = None
    deployment: str | None = None
    header: Header | None = None

    def matches(self, operation: str, deployment: str, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        if self.operation is not None and self.operation != operation:
            return False
        if self.deployment is not None and self.deployment != deployment:
            return False
        if self.header is None:
            return True
        wanted = (self.header.name.lower().encode(), self.header.value.encode())
        return any((name.lower(), value) == wanted for name, value in headers)


class Status(Fault, frozen=True, tag="status"):
    """Answer with this status; `body` is any JSON, and an error in Azure's shape where there is none."""

    status: Annotated[int, msgspec.Meta(ge=200, le=599)]
    body: Any = None
    headers: dict[str, str] = {}


class Refuse(Fault, frozen=True, tag="refuse"):
    """Close the listening socket, now; for `seconds`, or until the faults are cleared. Hits no single request."""

    seconds: Seconds | None = None


class Reset(Fault, frozen=True, tag="reset"):
    """Reset the connection before any answer."""


class Slow(Fault, frozen=True, tag="slow"):
    """Wait before the status line, then answer as usual."""

    seconds: Seconds


class Garbage(Fault, frozen=True, tag="garbage"):
    """Answer with bytes that are not HTTP, and close."""


class NotJson(Fault, frozen=True, tag="not_json"):
    """Answer 200 with content type application/json and a body that is not JSON."""


class Html(Fault, frozen=True, tag="html"):
    """Answer with an HTML page, as a proxy on the way would."""

    status: Annotated[int, msgspec.Meta(ge=200, le=599)] = 502


class Cut(Fault, frozen=True, tag="cut"):
    """End the connection in the middle of the answer: after so many SSE events, or half of a JSON body.

    What came before is flushed; then a plain FIN without the last HTTP chunk, or with `rst` a reset.
    """

    after_chunks: Chunks = 0
    rst: bool = False


class Stall(Fault, frozen=True, tag="stall"):
    """Fall silent after so many SSE events (or half of a JSON body), for `seconds` or until the caller leaves."""

    after_chunks: Chunks = 0
    seconds: Seconds | None = None


class Malformed(Fault, frozen=True, tag="malformed"):
    """Spoil a stream at SSE event number `at_chunk` (from 0): a garbage line before it, or its JSON broken off."""

    at_chunk: Chunks = 0
    form: Literal["line", "json"] = "line"


class UsageMissing(Fault, frozen=True, tag="usage_missing"):
    """Leave usage out of the answer; it is billed all the same."""


class UsageZero(Fault, frozen=True, tag="usage_zero"):
    """Report zero tokens, and bill zero."""


type RequestFault = (
    Status | Reset | Slow | Garbage | NotJson | Html | Cut | Stall | Malformed | UsageMissing | UsageZero
)
type AnyFault = RequestFault | Refuse


_decoder = msgspec.json.Decoder(list[AnyFault])


def parse_faults(body: bytes) -> list[AnyFault]:
    """Read a JSON list of faults. Raises msgspec.DecodeError, which names the path of what is wrong."""
    return _decoder.decode(body)


class FaultBook:
    """The faults of one backend that are still to come, in the order in which they were asked for."""

    def __init__(self) -> None:
        self._open: list[tuple[RequestFault, int | None]] = []

    def add(self, *faults: RequestFault) -> None:
        self._open.extend((fault, fault.times) for fault in faults)

    def clear(self) -> None:
        self._open.clear()

    def listed(self) -> Sequence[RequestFault]:
        """Return what is still to come; `times` is what is left of it."""
        return [msgspec.structs.replace(fault, times=left) for fault, left in self._open]

    def take(self, operation: str, deployment: str, headers: Iterable[tuple[bytes, bytes]]) -> RequestFault | None:
        """Return the fault that hits this request, and count the hit."""
        for place, (fault, left) in enumerate(self._open):
            if not fault.matches(operation, deployment, headers):
                continue
            if left == 1:
                del self._open[place]
            elif left is not None:
                self._open[place] = (fault, left - 1)
            return fault
        return None
