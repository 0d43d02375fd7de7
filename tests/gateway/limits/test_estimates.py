"""What a request is believed to come to."""

import base64
import json
import os

import pytest

from gateway.limits.estimates import ENCODED_TOKENS, FIRST_COMPLETION, Learned
from gateway.requests.bodies import peek


def body_of(**fields: object) -> bytes:
    return json.dumps({"messages": [{"role": "user", "content": "word " * 100}]} | fields).encode()


@pytest.mark.parametrize(
    ("fields", "most"),
    [
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 8, "max_tokens": 7}, 8),
        ({"max_output_tokens": 9}, 9),
        ({"max_tokens": 7, "n": 3}, 21),
        ({"max_tokens": 0}, None),
        ({"max_tokens": -5}, None),
        ({"max_tokens": "many", "n": {}}, None),
        ({"max_tokens": 7, "n": "three"}, 7),
        ({}, None),
    ],
)
def test_the_callers_bound(fields: dict[str, object], most: int | None) -> None:
    """Each API's name for the bound is read, for all choices together; what is wrong in it is the backend's to say."""
    assert peek(body_of(**fields)).most_completion_tokens == most


def test_first_and_learned() -> None:
    """A prompt is a quarter of its bytes at first; with each answer both averages come closer to the truth."""
    learned, body = Learned(), body_of()
    first = learned.estimate("chat/completions", peek(body), body)
    assert first.prompt == len(body) // 4
    assert (first.completion, first.asked) == (FIRST_COMPLETION, False)
    for _ in range(40):
        learned.learn(learned.estimate("chat/completions", peek(body), body), 101, 33)
    last = learned.estimate("chat/completions", peek(body), body)
    assert abs(last.prompt - 101) <= 1
    assert abs(last.completion - 33) <= 1


def test_operations_without_tokens() -> None:
    """Embeddings have no completion; what is not metered by tokens is estimated at nothing."""
    learned, body = Learned(), body_of()
    assert learned.estimate("embeddings", peek(body), body).completion == 0
    assert learned.estimate("images/generations", peek(body), body).tokens == 0


def test_images_in_a_body() -> None:
    """A large image inside a body counts as an image, not as text of its length."""
    image = base64.b64encode(os.urandom(500_000)).decode()
    parts = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}} for _ in range(2)]
    body = json.dumps({"messages": [{"role": "user", "content": parts}]}).encode()
    assert (
        2 * ENCODED_TOKENS < Learned().estimate("chat/completions", peek(body), body).prompt < 2 * ENCODED_TOKENS + 100
    )
