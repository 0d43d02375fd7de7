"""One completion: what is sent through the SDK, and what becomes of answers of any shape."""

from typing import Any

import pytest

from enrichment.calls.completions import completed
from enrichment.errors import GatewayFailed, GatewayRefused, NoAnswer
from enrichment.prompts.paragraph import PARAGRAPH
from hosting.services.models import Models
from tests.enrichment.fake_gateway import FakeGateway, completion, says


async def asked(gateway: FakeGateway) -> str:
    async with Models(gateway=gateway).for_caller("desk") as models:
        _, answer = await completed(models, "m", PARAGRAPH, "Rules.", "A ticket.", user="u")
        return answer.text()


async def test_what_is_sent() -> None:
    """The body has rules and text as messages of their own, and the header names the workload."""
    gateway = FakeGateway(says(completion("Done.")))
    assert await asked(gateway) == "Done."
    [(scope, body)] = gateway.requests
    assert body == {
        "model": "m",
        "messages": [{"role": "system", "content": "Rules."}, {"role": "user", "content": "A ticket."}],
        "max_completion_tokens": PARAGRAPH.max_tokens,
        "user": "u",
    }
    assert (scope["path"], scope["method"]) == ("/openai/v1/chat/completions", "POST")
    assert dict(scope["headers"])[b"x-workload-id"] == PARAGRAPH.workload.encode()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("no object", "malformed"),
        ({"choices": "none"}, "malformed"),
        ({"choices": [{"message": {"content": [{"text": "x"}]}}]}, "malformed"),
        ({}, "empty"),
        ({"choices": None, "model": None, "usage": None}, "empty"),
        (completion(" \n"), "empty"),
        (completion(None), "empty"),
    ],
)
async def test_answers_that_are_none(answer: Any, message: str) -> None:
    """What is no completion, or has no text, is the gateway's failure."""
    with pytest.raises(GatewayFailed, match=message):
        await asked(FakeGateway(says(answer)))


async def test_usage_that_is_not_whole() -> None:
    """A backend that counts one kind of token alone costs nobody the answer."""
    told = completion("Done.") | {"usage": {"prompt_tokens": None, "completion_tokens": 7}}
    assert await asked(FakeGateway(says(told))) == "Done."


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (completion(None, refusal="I will not."), "refusal"),
        (completion("Half", "length"), "length"),
        (completion("Half", "content_filter"), "content_filter"),
    ],
)
async def test_no_answer(answer: dict[str, Any], code: str) -> None:
    """A model that refuses, or is stopped, is told by its code."""
    with pytest.raises(NoAnswer) as none:
        await asked(FakeGateway(says(answer)))
    assert none.value.code == code


async def test_a_refusal_of_the_gateway() -> None:
    """The gateway's own error keeps its status and its headers."""
    with pytest.raises(GatewayRefused) as refused:
        await asked(FakeGateway(says({"error": {"message": "later"}}, 429, [(b"retry-after", b"9")])))
    assert (refused.value.status, refused.value.retry_after) == (429, 9)
