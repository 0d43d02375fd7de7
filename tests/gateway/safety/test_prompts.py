"""What a request says, whatever shape its JSON has."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.safety.prompts import messages_in

FIELDS = (
    *("messages", "input", "prompt", "instructions", "role", "content"),
    *("type", "text", "tool_calls", "function", "arguments", "output"),
)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(FIELDS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("operation", "request_fields", "expected"),
    [
        (
            "chat/completions",
            {
                "messages": [
                    {"role": "developer", "content": "rule"},
                    {
                        "role": "user",
                        "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {}}],
                    },
                    {"role": "assistant", "content": None, "tool_calls": [{"function": {"arguments": "{}"}}]},
                    {"role": "function", "content": "b"},
                ]
            },
            [("developer", "rule"), ("user", "a"), ("assistant", "{}"), ("tool", "b")],
        ),
        (
            "responses",
            {
                "instructions": "rule",
                "input": [
                    {"role": "user", "content": [{"type": "input_text", "text": "a"}]},
                    {"type": "function_call", "name": "f", "arguments": "{1}"},
                    {"type": "function_call_output", "output": "b"},
                    {"type": "function_call_output", "output": [{"type": "input_text", "text": "c"}]},
                ],
            },
            [("system", "rule"), ("user", "a"), ("assistant", "{1}"), ("tool", "b"), ("tool", "c")],
        ),
        ("responses", {"input": "a"}, [("user", "a")]),
        ("completions", {"prompt": ["a", "b"]}, [("user", "a"), ("user", "b")]),
        ("images/generations", {"prompt": "a"}, [("user", "a")]),
        ("audio/speech", {"input": "a"}, [("user", "a")]),
        ("embeddings", {"input": [[1, 2], [3]]}, []),
    ],
)
def test_texts_by_role(operation: str, request_fields: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    """Each operation's texts come in their order, with who says them."""
    found = messages_in(operation, json.dumps(request_fields).encode())
    assert [(message.role, message.text) for message in found] == expected


@given(st.sampled_from(["chat/completions", "responses", "completions"]), ANY_JSON)
def test_any_json_is_read(operation: str, value: Any) -> None:
    """No shape of JSON makes it fail, and every text it finds is a text."""
    assert all(isinstance(each.text, str) for each in messages_in(operation, json.dumps(value).encode()))


@pytest.mark.parametrize("body", [b"", b"--form", b"[" * 100_000, b"\xff"])
def test_what_is_no_json_says_nothing(body: bytes) -> None:
    """Forms, sound and endless nesting hold no texts."""
    assert messages_in("chat/completions", body) == []
