"""Which requests the cache may answer, what makes two of them the same, and which answers it may keep. Pure."""

import hashlib
import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from gateway.cache.turns import Turn, last_turn, telling_tokens
from gateway.call import Call
from gateway.catalog.catalog import CacheRules, CallerToken, Subscription
from gateway.requests import operations
from gateway.requests.bodies import NOT_JSON

OPERATIONS: Final = operations.METERED
LONGEST_REQUEST: Final = 256 * 1024
"""Bytes of a request's body; to parse and sort a longer one takes longer than a cache is worth."""

VERSION: Final = 1
"""Part of every key: change it with what a key or a kept answer means."""

_NO_CHANGE: Final = frozenset({"user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "metadata"})
"""Fields that say who asks, or are only handed back: the answer is the same without them."""

_DEPENDS_ON_MORE: Final = frozenset(
    {"background", "previous_response_id", "conversation", "data_sources", "web_search_options", "audio", "functions"}
)
"""Fields by which an answer depends on more than the request, or is more than text."""

_FETCHED: Final = re.compile(rb'"(?:url|image_url|file_url)"\s*:\s*"https?:', re.IGNORECASE)
"""What the backend fetches from elsewhere may be another thing tomorrow."""

_PLAIN_OUTPUT: Final = frozenset({"message", "reasoning"})


class _Message(msgspec.Struct):
    tool_calls: list[msgspec.Raw] | None = None
    function_call: dict[str, Any] | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    finish_reason: str | None = None
    message: _Message | None = None
    delta: _Message | None = None


class _Item(msgspec.Struct):
    type: str = ""


class _Answer(msgspec.Struct):
    """A JSON answer of any of the operations, or an event of one of their streams."""

    choices: list[_Choice] = []
    data: list[msgspec.Raw] = []
    status: str = ""
    output: list[_Item] = []
    response: "_Answer | None" = None


_decode = msgspec.json.Decoder(dict[str, Any]).decode
_canonical = msgspec.json.Encoder(order="sorted").encode
_decode_answer = msgspec.json.Decoder(_Answer).decode


def scope_of(subscription: Subscription) -> str:
    """Return whose answers may serve this subscription: its own alone.

    Its keys belong to it: one that is made anew under the name of one that is gone begins with an empty cache.
    """
    return _digest([VERSION, subscription.name, sorted(digest.hex() for digest in subscription.key_digests)])[:32]


def asked(call: Call, rules: CacheRules) -> dict[str, Any] | None:
    """Return the fields that the answer depends on; None where the call must reach a backend."""
    backends = (member.backend for tier in call.deployment.tiers for member in tier)
    if len(call.body) > LONGEST_REQUEST or any(isinstance(backend.auth, CallerToken) for backend in backends):
        # Who may see what comes from a backend that takes the caller's own token is the backend's to say.
        return None
    if _FETCHED.search(call.body):
        return None
    try:
        fields = _decode(call.body)
    except NOT_JSON:
        return None
    if not (_depends_on_itself(call.target.operation, fields) and _settled(call.target.operation, fields, rules)):
        return None
    if not call.peek.stream:
        fields.pop("stream", None)
        fields.pop("stream_options", None)
    return {name: value for name, value in fields.items() if name not in _NO_CHANGE}


def _depends_on_itself(operation: str, fields: dict[str, Any]) -> bool:
    if any(fields.get(name) for name in _DEPENDS_ON_MORE):
        return False
    tools = fields.get("tools")
    if tools and not (
        isinstance(tools, list) and all(isinstance(t, dict) and t.get("type") == "function" for t in tools)
    ):
        return False
    if operation == operations.RESPONSES:
        # A response is stored unless the request says otherwise, and a stored prompt may change.
        return fields.get("store") is False and not fields.get("prompt")
    return not fields.get("store")


def _settled(operation: str, fields: dict[str, Any], rules: CacheRules) -> bool:
    """Tell whether the same question has one answer, or the subscription takes any of several."""
    return operation == operations.EMBEDDINGS or rules.any_temperature or fields.get("temperature", 1) == 0


def key_of(call: Call, fields: dict[str, Any]) -> str:
    """Return the digest of everything that the bytes of the answer depend on."""
    members = [f"{each.backend.name}/{each.deployment}" for tier in call.deployment.tiers for each in tier]
    return _digest(
        [
            call.target.upstream,
            call.query,
            call.headers.get("openai-beta", ""),
            call.deployment.name,
            call.deployment.model,
            sorted(members),
            call.hide_usage,
            fields,
        ]
    )


def turn_of(call: Call, fields: dict[str, Any]) -> Turn | None:
    """Return the call's last user turn apart from its context; None where it has none to compare."""
    found = last_turn(call.target.operation, fields)
    return found and Turn(found[0], key_of(call, found[1]), telling_tokens(found[0]))


def _digest(value: Any) -> str:
    return hashlib.sha256(_canonical(value)).hexdigest()


def is_whole(operation: str, body: bytes, *, streamed: bool) -> bool:
    """Tell whether an answer came to its own end as text: not cut, not filtered, and no call of a tool."""
    try:
        if not streamed:
            return _is_whole(operation, _decode_answer(body))
        if operation == operations.RESPONSES:
            return any(each.response is not None and _is_whole(operation, each.response) for each in _events(body))
        return _chunks_are_whole(list(_events(body)))
    except NOT_JSON:
        return False


def _events(body: bytes) -> Iterator[_Answer]:
    for line in body.splitlines():
        if line.startswith(b"data:") and (payload := line[5:].strip()) != b"[DONE]":
            yield _decode_answer(payload)


def _is_whole(operation: str, answer: _Answer) -> bool:
    if operation == operations.EMBEDDINGS:
        return bool(answer.data)
    if operation == operations.RESPONSES:
        return answer.status == "completed" and all(item.type in _PLAIN_OUTPUT for item in answer.output)
    choices = answer.choices
    return bool(choices) and all(each.finish_reason == "stop" and not _calls_tool(each) for each in choices)


def _chunks_are_whole(chunks: list[_Answer]) -> bool:
    choices = [choice for chunk in chunks for choice in chunk.choices]
    ended = {choice.index for choice in choices if choice.finish_reason == "stop"}
    return bool(ended) and all(
        choice.index in ended and choice.finish_reason in {None, "", "stop"} and not _calls_tool(choice)
        for choice in choices
    )


def _calls_tool(choice: _Choice) -> bool:
    said = choice.message or choice.delta
    return said is not None and bool(said.tool_calls or said.function_call)
