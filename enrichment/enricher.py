"""What is asked of a model about a ticket, and what is made of its answer."""

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator, Callable
from typing import Final

import openai
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessageParam

from enrichment.errors import GatewayFailed, GatewayTimeout, NoAnswer, from_sdk
from enrichment.fence import fenced, unfenced, visible
from enrichment.models import Question, Summary, Ticket, Usage
from enrichment.prompts import SUMMARY

SUMMARY_TOKENS: Final = 1_000
"""Enough for the paragraph and for a small reasoning model's thoughts before it."""

_FIELDS: Final = ("short_description", "description", "work_notes", "comments")

_STOPPED: Final = {
    "length": "The model reached its length limit before the answer was whole.",
    "content_filter": "The model's content filter stopped the answer.",
}


class Enricher:
    """Asks `deployment`. `answer_seconds` bounds an answer that is not streamed; `mark` draws the mark of a fence."""

    def __init__(
        self, deployment: str, *, answer_seconds: float = 25.0, mark: Callable[[], str] = lambda: secrets.token_hex(8)
    ) -> None:
        self._deployment = deployment
        self._answer_seconds = answer_seconds
        self._mark = mark

    async def summarize(self, models: openai.AsyncOpenAI, ticket: Ticket) -> Summary:
        """Return the ticket in one paragraph. Raises NoAnswer, GatewayRefused, GatewayFailed, GatewayTimeout."""
        mark = self._mark()
        messages: list[ChatCompletionMessageParam] = [
            {"role": "system", "content": SUMMARY.for_mark(mark)},
            {"role": "user", "content": fenced(_ticket_text(ticket), mark)},
        ]
        try:
            async with asyncio.timeout(self._answer_seconds):
                raw = await models.chat.completions.with_raw_response.create(
                    model=self._deployment, messages=messages, max_completion_tokens=SUMMARY_TOKENS
                )
                completion = raw.parse()
        except TimeoutError as late:
            raise GatewayTimeout(f"The model did not answer within {self._answer_seconds:g} s.") from late
        except openai.APIError as error:
            raise from_sdk(error) from error
        except json.JSONDecodeError as garbage:
            raise GatewayFailed("The model's answer is not JSON.") from garbage
        return Summary(
            summary=" ".join(visible(unfenced(_content(completion), mark)).split()),
            model=completion.model,
            prompt=SUMMARY.label,
            usage=_usage(completion),
            request_id=raw.request_id or "",
        )

    async def answer(self, models: openai.AsyncOpenAI, question: Question) -> "Answer":
        """Return the answer to the question as soon as it begins. Raises as `summarize`, but for its time limit."""
        try:
            stream = await models.chat.completions.create(
                model=self._deployment, messages=[{"role": "user", "content": question.input}], stream=True
            )
        except openai.APIError as error:
            raise from_sdk(error) from error
        answer = Answer(stream)
        await answer.begin()
        return answer


class Answer:
    """An answer that is being written. `first` is its first piece, which has arrived; "" in an empty answer."""

    def __init__(self, stream: openai.AsyncStream[ChatCompletionChunk]) -> None:
        self.request_id: str = stream.response.headers.get("x-request-id", "")
        self.first = ""
        self._pieces = _pieces(stream)

    async def begin(self) -> None:
        self.first = await anext(self._pieces, "")

    async def pieces(self) -> AsyncGenerator[str]:
        """Yield the text as it arrives, the first piece included. Raises NoAnswer, GatewayFailed, GatewayTimeout."""
        try:
            if self.first:
                yield self.first
            async for piece in self._pieces:
                yield piece
        finally:
            await self._pieces.aclose()


async def _pieces(stream: openai.AsyncStream[ChatCompletionChunk]) -> AsyncGenerator[str]:
    finished = False
    try:
        async with stream:
            async for chunk in stream:
                for choice in chunk.choices[:1]:
                    if choice.delta.refusal:
                        raise NoAnswer("The model refused to answer.", code="refusal")
                    if choice.delta.content:
                        yield choice.delta.content
                    _check_stop(choice.finish_reason)
                    finished = finished or choice.finish_reason is not None
    except openai.APIError as error:
        raise from_sdk(error) from error
    except json.JSONDecodeError as garbage:
        raise GatewayFailed("The model's answer is malformed.") from garbage
    if not finished:
        raise GatewayFailed("The model's answer ended before it was whole.")


def _ticket_text(ticket: Ticket) -> str:
    texts = ((field, visible(getattr(ticket, field)).strip()) for field in _FIELDS)
    return "\n\n".join(f"{field}:\n{text}" for field, text in texts if text)


def _content(completion: ChatCompletion) -> str:
    if not completion.choices:
        raise GatewayFailed("The model's answer is empty.")
    choice = completion.choices[0]
    if choice.message.refusal:
        raise NoAnswer("The model refused to answer.", code="refusal")
    _check_stop(choice.finish_reason)
    if not choice.message.content or not choice.message.content.strip():
        raise GatewayFailed("The model's answer is empty.")
    return choice.message.content


def _check_stop(finish_reason: str | None) -> None:
    if finish_reason in _STOPPED:
        raise NoAnswer(_STOPPED[finish_reason], code=finish_reason)


def _usage(completion: ChatCompletion) -> Usage | None:
    usage = completion.usage
    if usage is None:
        return None
    return Usage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.total_tokens,
    )
