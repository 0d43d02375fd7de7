"""What two questions must have in common to be the same question in other words."""

from typing import Any

import pytest

from gateway.cache.turns import LONGEST_TEXT, last_turn, telling_tokens


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How do I reset my password?", "Please, how can I reset my password"),
        ("What's the refund policy?", "Tell me the refund policy."),
        ("What is the capital of France?", "France: what is its capital?"),
        ("Can\u2019t I log in?", "Why can't I log in?"),
        ("Is the e-mail server slow?", "is the mail server slow"),
    ],
)
def test_other_words(one: str, other: str) -> None:
    """Openers, politeness, capitals at the beginning and punctuation do not tell questions apart."""
    assert telling_tokens(one) == telling_tokens(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is 17 + 4?", "What is 17 + 5?"),
        ("Is it allowed?", "Is it not allowed?"),
        ("I can log in", "I can't log in"),
        ("Paris weather", "London weather"),
        ("Convert 5 USD to EUR", "Convert 5 EUR to USD"),
        ("Enable the firewall", "Disable the firewall"),
        ("What does `ls` do?", "What does `rm` do?"),
        ('Translate "yes"', 'Translate "no"'),
        ("error in app.py", "error in api.py"),
        ("the third order, order_id x1", "the third order, order_id x2"),
        ("東京の天気", "大阪の天気"),
    ],
)
def test_other_questions(one: str, other: str) -> None:
    """Numbers, names, quotations, identifiers, their order and words that turn a sentence round tell them apart."""
    assert telling_tokens(one) != telling_tokens(other)


@pytest.mark.parametrize(
    ("operation", "fields"),
    [
        ("chat/completions", {"messages": [{"role": "user", "content": "Hello"}]}),
        ("chat/completions", {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]}),
        ("responses", {"input": "Hello"}),
        ("responses", {"input": [{"role": "user", "content": "Hello"}]}),
        ("responses", {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Hello"}]}]}),
    ],
)
def test_last_turn(operation: str, fields: dict[str, Any]) -> None:
    """The last user turn is found in each form, and what is left does not hold it."""
    found = last_turn(operation, fields)
    assert found is not None
    assert found[0] == "Hello"
    assert "Hello" not in str(found[1])
    assert "Hello" in str(fields)


@pytest.mark.parametrize(
    ("operation", "fields"),
    [
        ("completions", {"prompt": "Hello"}),
        ("embeddings", {"input": "Hello"}),
        ("chat/completions", {"messages": []}),
        ("chat/completions", {"messages": [{"role": "assistant", "content": "Hello"}]}),
        ("chat/completions", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}),
        ("chat/completions", {"messages": [{"role": "user", "content": "x" * (LONGEST_TEXT + 1)}]}),
        ("responses", {"input": " "}),
        ("responses", {"input": 5}),
    ],
)
def test_no_turn(operation: str, fields: dict[str, Any]) -> None:
    """Other operations, pictures, empty and very long texts have no turn to compare."""
    assert last_turn(operation, fields) is None
