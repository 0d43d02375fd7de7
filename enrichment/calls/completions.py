"""One chat completion through the gateway, not streamed: what is sent, and the part of the answer that is read.

By the SDK's `post`: the call has its time-outs, its errors and its headers, and is spared its walk through every level
of what goes out and comes in, which takes longer than all the rest of a call.
"""

from collections.abc import Mapping
from typing import Any, Final

import httpx2
import openai
from pydantic import BaseModel, ValidationError

from enrichment.errors import GatewayFailed, NoAnswer, from_sdk
from enrichment.prompts.prompt import Prompt

_STOPPED: Final = {
    "length": "The model reached its length limit before the answer was whole.",
    "content_filter": "The model's content filter stopped the answer.",
}


class Details(BaseModel):
    cached_tokens: int | None = None


class Used(BaseModel):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: Details | None = None


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class Completion(BaseModel):
    """An answer as far as it is read. `usage` is None where the backend gave none."""

    model: str | None = None
    choices: tuple[_Choice, ...] | None = None
    usage: Used | None = None

    def text(self) -> str:
        """Return what the model wrote. Raises NoAnswer where it was refused, filtered or cut, else GatewayFailed."""
        if not self.choices:
            raise GatewayFailed("The model's answer is empty.")
        choice = self.choices[0]
        if choice.message.refusal:
            raise NoAnswer("The model refused to answer.", code="refusal")
        check_stop(choice.finish_reason)
        if not choice.message.content or not choice.message.content.strip():
            raise GatewayFailed("The model's answer is empty.")
        return choice.message.content


async def completed(
    models: openai.AsyncOpenAI, deployment: str, prompt: Prompt, rules: str, text: str, **more: object
) -> tuple[httpx2.Headers, Completion]:
    """Return the gateway's headers and a model's answer to a text under rules; `more` goes into the body.

    Raises GatewayRefused, GatewayFailed, GatewayTimeout, NoAnswer.
    """
    messages = [{"role": "system", "content": rules}, {"role": "user", "content": text}]
    body: Mapping[str, Any] = {
        "model": deployment,
        "messages": messages,
        "max_completion_tokens": prompt.max_tokens,
        **more,
    }
    try:
        answer = await models.post(
            "/chat/completions",
            cast_to=httpx2.Response,
            body=body,
            options={"headers": {"x-workload-id": prompt.workload}},
        )
    except openai.APIError as error:
        raise from_sdk(error) from error
    try:
        return answer.headers, Completion.model_validate_json(answer.content)
    except ValidationError as garbage:
        raise GatewayFailed("The model's answer is malformed.") from garbage


def check_stop(finish_reason: str | None) -> None:
    """Raise NoAnswer where a model stopped before its answer was whole."""
    if finish_reason in _STOPPED:
        raise NoAnswer(_STOPPED[finish_reason], code=finish_reason)
