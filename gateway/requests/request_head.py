"""A request's headers: which of them go upstream, and what the others tell the gateway."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.errors import EncodingNotSupported, InvalidRequest
from gateway.requests.bodies import too_large

SENT_UPSTREAM = frozenset(
    {
        b"accept",
        b"content-type",
        b"idempotency-key",
        b"openai-beta",
        b"traceparent",
        b"tracestate",
        b"x-ms-client-request-id",
    }
)
"""Everything else that a caller sends, its credentials and `x-ms-spillover-deployment` included, stays here."""

WORKLOAD = re.compile(rb"[\w .:/@-]{1,64}", re.ASCII)
"""What `x-workload-id` may hold; it becomes a label of the usage event."""


@dataclass(slots=True)
class RequestHead:
    """A request's headers, sorted: `upstream` goes to the backend, the rest is for the gateway; `length` in bytes."""

    upstream: dict[str, str]
    backend: str = ""
    workload: str = ""
    length: int | None = None


def read_head(headers: Iterable[tuple[bytes, bytes]], limit: int) -> RequestHead:
    """Return the headers, sorted (names in lower case); `limit` is the most bytes of a body.

    Raises BodyTooLarge, EncodingNotSupported and InvalidRequest.
    """
    head = RequestHead({"user-agent": "tollgate", "accept-encoding": "identity"})
    for name, value in headers:
        if name in SENT_UPSTREAM:
            head.upstream[name.decode()] = value.decode("latin-1")
        elif name == b"content-length" and value.isdigit():
            head.length = int(value[:19])
            if head.length > limit:
                raise too_large(limit)
        elif name == b"content-encoding" and value.lower() != b"identity":
            raise EncodingNotSupported("A compressed request body is not taken; send it as it is.")
        elif name == b"x-gateway-backend":
            head.backend = value.decode("latin-1")
        elif name == b"x-workload-id":
            if not WORKLOAD.fullmatch(value):
                raise InvalidRequest("x-workload-id takes up to 64 letters, digits and any of ` .:/@_-`.")
            head.workload = value.decode()
    return head
