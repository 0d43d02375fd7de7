"""Request bodies: read whole, looked into for what routing needs, and changed in as few bytes as can be."""

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

import msgspec

from gateway.deadlines import Deadlines
from gateway.errors import BodyTimeout, BodyTooLarge, CallerLeft, InvalidRequest

type Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

INCLUDE_USAGE = b',"stream_options":{"include_usage":true}}'


@dataclass(frozen=True, slots=True)
class BodyRules:
    """`limit` is a body's most bytes, `timeout` the seconds for all of it to arrive.

    `spool` is what uploads under way may keep on the disk, in bytes, all together.
    """

    limit: int
    timeout: float
    spool: int = 0


class Peek(msgspec.Struct):
    """The fields that decide where a request goes; msgspec skips all others without building objects."""

    model: str | None = None
    stream: bool | None = None
    stream_options: dict[str, msgspec.Raw] | None = None
    previous_response_id: str | None = None
    prompt_cache_key: str | None = None
    background: bool | None = None
    # Any: what is wrong in these is the backend's to refuse, in its own words.
    max_tokens: Any = None
    max_completion_tokens: Any = None
    max_output_tokens: Any = None
    n: Any = None

    @property
    def most_completion_tokens(self) -> int | None:
        """The most tokens that the answer may have, all choices together; None where the caller sets no bound."""
        for bound in (self.max_completion_tokens, self.max_output_tokens, self.max_tokens):
            if isinstance(bound, int) and bound > 0:
                return bound * self.n if isinstance(self.n, int) and self.n > 1 else bound
        return None

    @property
    def usage_asked(self) -> bool:
        return self.stream_options is not None and bytes(self.stream_options.get("include_usage", b"")) == b"true"


NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are no JSON: these two for text that is not UTF-8, and for endless nesting."""

_peek = msgspec.json.Decoder(Peek).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


async def read_body(receive: Receive, rules: BodyRules, deadlines: Deadlines) -> bytes:
    """Return the body. Raises BodyTooLarge, BodyTimeout and CallerLeft."""
    try:
        with deadlines.within(rules.timeout):
            return await _read(receive, rules.limit)
    except TimeoutError as error:
        raise too_slow(rules.timeout) from error


async def _read(receive: Receive, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise CallerLeft
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise too_large(limit)
        if not message.get("more_body", False):
            return bytes(part) if not parts else b"".join((*parts, part))
        parts.append(part)


def too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The request body is over the limit of {limit} bytes.")


def too_slow(seconds: float) -> BodyTimeout:
    return BodyTimeout(f"The request body did not arrive within {seconds:g} seconds.")


def peek(body: bytes) -> Peek:
    """Return the routing fields of a JSON body. Raises InvalidRequest with what is wrong and where."""
    try:
        return _peek(body)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"The request body is not valid: {error}.") from error
    except NOT_JSON as error:
        raise _not_json(error) from error


def _fields(body: bytes) -> dict[str, msgspec.Raw]:
    try:
        return _decode_fields(body)
    except NOT_JSON as error:
        raise _not_json(error) from error


def _not_json(error: Exception) -> InvalidRequest:
    return InvalidRequest(f"The request body is not JSON: {error}.")


def with_model(body: bytes, model: str) -> bytes:
    """Return the body with `model` in place of its own; every other value keeps its bytes. Raises InvalidRequest."""
    fields = _fields(body)
    fields["model"] = msgspec.Raw(msgspec.json.encode(model))
    return msgspec.json.encode(fields)


def with_usage(body: bytes, options: dict[str, msgspec.Raw] | None) -> bytes:
    """Return a streaming request's body with `stream_options.include_usage` true; all other bytes as they are.

    Raises InvalidRequest for a body that only looked like JSON as long as some of its fields were skipped.
    """
    if options is None and b"stream_options" not in body:
        return body.rstrip()[:-1] + INCLUDE_USAGE
    fields = _fields(body)
    fields["stream_options"] = msgspec.Raw(
        msgspec.json.encode({**(options or {}), "include_usage": msgspec.Raw(b"true")})
    )
    return msgspec.json.encode(fields)
