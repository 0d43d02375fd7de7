"""What a request says and who says it: the texts of a JSON body, by role. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from gateway.requests import operations
from gateway.requests.bodies import NOT_JSON

USER = "user"
TOOL = "tool"

_TEXT_PARTS = frozenset({"text", "input_text", "output_text", "refusal"})


@dataclass(frozen=True, slots=True)
class Message:
    """`role` is the body's own word (system, developer, user, assistant), or `tool` for what a function returned."""

    role: str
    text: str = field(repr=False)


def messages_in(operation: str, body: bytes) -> list[Message]:
    """Return the texts of a request in their order; none of a body that is no JSON object, such as a form."""
    try:
        request = msgspec.json.decode(body)
    except NOT_JSON:
        return []
    if not isinstance(request, dict):
        return []
    if operation == operations.CHAT:
        return list(_items(request.get("messages")))
    if operation == operations.RESPONSES:
        said = [Message("system", text) for text in _texts(request.get("instructions"))]
        return said + list(_items(request.get("input")))
    return [Message(USER, text) for name in ("prompt", "input") for text in _texts(request.get(name))]


def _items(items: object) -> Iterator[Message]:
    if isinstance(items, str):
        yield Message(USER, items)
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict):
            yield from _item(item)


def _item(item: dict[str, Any]) -> Iterator[Message]:
    """Yield the texts of a chat message, or of an item of a Responses request."""
    if item.get("type") in {"function_call_output", "custom_tool_call_output"}:
        role, texts = TOOL, _texts(item.get("output"))
    elif item.get("type") in {"function_call", "custom_tool_call"}:
        role, texts = "assistant", _texts(item.get("arguments") or item.get("input"))
    else:
        role = str(item.get("role") or USER)
        # "function" is the older name of the same role.
        role, texts = TOOL if role == "function" else role, _texts(item.get("content"))
    for text in texts:
        yield Message(role, text)
    for call in item.get("tool_calls") or () if isinstance(item.get("tool_calls"), list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            yield from (Message(role, text) for text in _texts(function.get("arguments")))


def _texts(content: object) -> Iterator[str]:
    if isinstance(content, str):
        if content:
            yield content
    elif isinstance(content, list):
        for part in content:
            if isinstance(part, str):
                yield part
            elif isinstance(part, dict) and part.get("type") in _TEXT_PARTS:
                yield from _texts(part.get("text") or part.get("refusal"))
