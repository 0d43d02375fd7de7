"""What a model said, out of the JSON that holds it, by searches at C speed."""

import re

import msgspec

from gateway.requests import operations
from gateway.requests.bodies import NOT_JSON

_TEXT = re.compile(rb'"(content|refusal|reasoning_content|name|arguments|text|delta)"\s*:\s*"((?:[^"\\]++|\\.)*+)"')

TEXT_OF_CHAT = frozenset({b"content", b"refusal", b"reasoning_content", b"name", b"arguments", b"text"})
"""Fields that hold what the model said: in chunks and answers of chat completions, and in completions' `text`."""

TEXT_OF_RESPONSES = frozenset({b"delta"})
"""The same in a Responses stream, whose later events repeat the deltas in other fields."""

TEXT_OF_WHOLE_RESPONSES = frozenset({b"text", b"refusal", b"arguments"})


def texts_of(operation: str, body: bytes) -> dict[str, str]:
    """Return what the model said in a whole JSON answer, by the JSON field that holds it."""
    found: dict[bytes, list[str]] = {}
    collect(body, TEXT_OF_WHOLE_RESPONSES if operation == operations.RESPONSES else TEXT_OF_CHAT, found)
    return {name.decode(): "".join(pieces) for name, pieces in found.items()}


def collect(raw: bytes, texts: frozenset[bytes], found: dict[bytes, list[str]]) -> None:
    """Add the pieces of text in some JSON to those `found`, by the fields in `texts` that hold them."""
    for name, text in _TEXT.findall(raw):
        if name in texts:
            found.setdefault(name, []).append(unescaped(text))


def unescaped(text: bytes) -> str:
    """Return the text of a JSON string, of which `text` is what stands between its quotes."""
    if b"\\" not in text:
        return text.decode("utf-8", "replace")
    try:
        return msgspec.json.decode(b'"' + text + b'"', type=str)
    except NOT_JSON:
        return text.decode("utf-8", "replace")
