"""What a model said, found in its answer."""

import json

from hypothesis import given
from hypothesis import strategies as st

from gateway.answers.texts import texts_of


def test_text_of_a_whole_answer() -> None:
    """The text of a JSON answer without usage is found: contents, tool calls, output texts."""
    calls = [{"function": {"name": "find", "arguments": '{"a": "\\\\"}'}}]
    body = json.dumps({"choices": [{"message": {"content": 'a "b" \\ é', "tool_calls": calls}}]}).encode()
    assert texts_of("chat/completions", body) == {"content": 'a "b" \\ é', "name": "find", "arguments": '{"a": "\\\\"}'}
    output = [{"content": [{"type": "output_text", "text": "one"}]}, {"arguments": "{}"}]
    assert texts_of("responses", json.dumps({"output": output}).encode()) == {"text": "one", "arguments": "{}"}
    assert texts_of("embeddings", b'{"data":[{"embedding":[0.1]}]}') == {}


@given(st.text(max_size=300))
def test_any_text_is_read_back(text: str) -> None:
    """Text of any characters, however JSON escapes it, is read back as it was said."""
    said = text.encode("utf-8", "replace").decode()
    for ascii_only in (False, True):
        body = json.dumps({"content": said}, ensure_ascii=ascii_only).encode()
        assert texts_of("chat/completions", body) == {"content": said}
