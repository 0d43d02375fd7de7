"""Azure AI Content Safety's Prompt Shields: whether somebody talks the model out of its instructions.

Source: "Text Operations - Shield Prompt", api-version 2024-09-01, and the service's input requirements: 10,000
characters of a prompt, five documents with 10,000 characters in all.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from gateway.requests.bodies import NOT_JSON
from gateway.upstream.upstream import Request, Upstream, UpstreamError, whole
from seams.tokens import TokenSource, TokenUnavailable

PATH = "/contentsafety/text:shieldPrompt?api-version=2024-09-01"

LONGEST_PROMPT = 10_000
"""Characters."""

LONGEST_DOCUMENTS = 10_000
"""Characters of all documents of a request."""

MOST_DOCUMENTS = 5
LONGEST_ANSWER = 100_000
"""Bytes; a true answer has some two hundred."""


class SafetyUnavailable(Exception):
    """There is no verdict; the message says why and holds neither the prompt nor a key."""


@dataclass(frozen=True, slots=True)
class Question:
    """What one request asks about, inside the service's limits. `prompt` may be empty."""

    prompt: str
    documents: Sequence[str] = ()


class _Analysis(msgspec.Struct, rename="camel"):
    attack_detected: bool


class _Verdict(msgspec.Struct, rename="camel"):
    user_prompt_analysis: _Analysis | None = None
    documents_analysis: list[_Analysis] | None = None


_verdict = msgspec.json.Decoder(_Verdict).decode


class ContentSafety:
    """`endpoint` has no trailing slash; `credential` is a key or the source of tokens of the app's identity."""

    def __init__(self, upstream: Upstream, endpoint: str, credential: str | TokenSource, timeout: float) -> None:
        """Take `timeout` in seconds, for a whole exchange."""
        self._upstream = upstream
        self._url = endpoint + PATH
        self._credential = credential
        self._timeout = timeout

    async def attack_in(self, question: Question) -> bool:
        """Tell whether the prompt or one of the documents is an attack. Raises SafetyUnavailable."""
        try:
            async with asyncio.timeout(self._timeout):
                status, body = await self._exchange(question)
        except TimeoutError as error:
            raise SafetyUnavailable(f"no answer within {self._timeout:g} seconds") from error
        except (UpstreamError, TokenUnavailable) as error:
            raise SafetyUnavailable(str(error)) from error
        if status != 200:
            raise SafetyUnavailable(f"it answered {status}")
        return _attack(question, body)

    async def _exchange(self, question: Question) -> tuple[int, bytes]:
        asked: dict[str, object] = {"userPrompt": question.prompt} if question.prompt else {}
        if question.documents:
            asked["documents"] = question.documents
        headers = {"content-type": "application/json", "accept-encoding": "identity"}
        if isinstance(self._credential, str):
            headers["ocp-apim-subscription-key"] = self._credential
        else:
            headers["authorization"] = f"Bearer {await self._credential.token()}"
        answer = await self._upstream.send(Request("POST", self._url, headers, msgspec.json.encode(asked)))
        try:
            return answer.status, await whole(answer, LONGEST_ANSWER)
        finally:
            answer.close()


def _attack(question: Question, body: bytes) -> bool:
    try:
        verdict = _verdict(body)
    except NOT_JSON as error:
        raise SafetyUnavailable("its answer is not what was agreed") from error
    found = [*(verdict.documents_analysis or ())]
    if len(found) < len(question.documents) or (question.prompt and verdict.user_prompt_analysis is None):
        raise SafetyUnavailable("its answer leaves a part of the question out")
    if verdict.user_prompt_analysis is not None:
        found.append(verdict.user_prompt_analysis)
    return any(each.attack_detected for each in found)
