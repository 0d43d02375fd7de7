"""What the simulated model says: text, JSON or a tool call, from the conversation alone and always the same.

Two markers in a prompt set the content filter off: `content-filter-me` refuses the prompt, `filter-my-completion` stops
the completion half way.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import msgspec

from local.simulator import errors, extracts
from local.simulator.schemas import conforming
from local.simulator.tokens import Message, Tokenizer

PROMPT_MARKER = "content-filter-me"
COMPLETION_MARKER = "filter-my-completion"

Finish = Literal["stop", "length", "content_filter", "tool_calls"]

_REASONING_MODEL = re.compile(r"o\d|gpt-5")
_REASONING_TOKENS = {"none": 0, "minimal": 0, "low": 64, "medium": 128, "high": 256}
_VERBS = frozenset(
    ("get", "set", "list", "find", "fetch", "create", "update", "delete", "look", "call", "run", "search")
)
_NAME_PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")
# White space opens a piece, never ends one, so that no piece boundary lies inside a token of the whole text.
_PIECE = re.compile(r"\s*\S+")


class Function(msgspec.Struct, frozen=True):
    """A function that the caller offers, in chat's or in the Responses API's form."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """What the caller asked of the answer, whichever API it used.

    `schema` None is free text, an empty one any JSON object. `forced` names a function, or is `required` or `none`.
    """

    messages: Sequence[Message]
    functions: Sequence[Function] = ()
    forced: str = "auto"
    schema: Mapping[str, Any] | None = None
    stop: Sequence[str] = ()
    max_tokens: int | None = None
    effort: str = "medium"


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call; `arguments` is JSON text."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Reply:
    """One choice: text or a tool call, why it ended, and the reasoning before it."""

    text: str = ""
    call: Call | None = None
    finish: Finish = "stop"
    reasoning: int = 0

    def completion_tokens(self, tokenizer: Tokenizer) -> int:
        """Return what it costs, reasoning included."""
        said = (self.text,) if self.call is None else (self.call.name, self.call.arguments)
        return self.reasoning + sum(map(tokenizer.count, said))


def pieces(text: str) -> Iterator[str]:
    """Split a text into streamed pieces, a word each with the space before it; joined they are the text."""
    end = 0
    for match in _PIECE.finditer(text):
        end = match.end()
        yield match[0]
    if end < len(text):
        yield text[end:]


def is_reasoning_model(model: str) -> bool:
    return _REASONING_MODEL.match(model) is not None


def compose(wish: Wish, model: str, tokenizer: Tokenizer) -> Reply:
    """Return the reply to a conversation. Raises AzureError where the content filter refuses the prompt."""
    prompt = "\n".join(message.text() for message in wish.messages)
    if PROMPT_MARKER in prompt:
        raise errors.prompt_filtered()
    reasoning = _REASONING_TOKENS.get(wish.effort, 128) if is_reasoning_model(model) else 0
    reply = _first_thought(wish)
    reply = replace(reply, reasoning=reasoning)
    if COMPLETION_MARKER in prompt:
        words = list(pieces(reply.text))
        return replace(reply, text="".join(words[: len(words) // 2]), call=None, finish="content_filter")
    return _shortened(reply, wish, tokenizer)


def _first_thought(wish: Wish) -> Reply:
    asked = _last_question(wish.messages)
    function = None if wish.messages and wish.messages[-1].role == "tool" else _fitting(wish, asked)
    if function is not None:
        arguments = conforming(function.parameters or {}, asked, "phrases")
        return Reply(call=Call(function.name, msgspec.json.encode(arguments).decode()), finish="tool_calls")
    if wish.schema is None:
        return Reply(extracts.reply_to(asked))
    text = extracts.subject(asked)
    value = conforming(wish.schema, text) if wish.schema else {"answer": extracts.reply_to(asked)}
    return Reply(msgspec.json.encode(value).decode())


def _last_question(messages: Sequence[Message]) -> str:
    """Return a tool's result where that came last, else the last text of a user, else of an instruction."""
    if messages and messages[-1].role == "tool":
        return messages[-1].text()
    for roles in (("user",), ("system", "developer")):
        for message in reversed(messages):
            if message.role in roles and message.text().strip():
                return message.text()
    return ""


def _fitting(wish: Wish, asked: str) -> Function | None:
    """Return the function to call: the one that is named, or the one whose words the question uses."""
    if not wish.functions or wish.forced == "none":
        return None
    if wish.forced not in ("auto", "required"):
        return next((function for function in wish.functions if function.name == wish.forced), None)
    question = set(extracts.words(asked))

    def fit(function: Function) -> int:
        named = {word.lower() for word in _NAME_PART.findall(function.name)} - _VERBS
        described = set(extracts.words(function.description or "")) - _VERBS
        return 2 * len(named & question) + len(described & question)

    best = max(wish.functions, key=fit)
    return best if wish.forced == "required" or fit(best) > 1 else None


def _shortened(reply: Reply, wish: Wish, tokenizer: Tokenizer) -> Reply:
    """Apply the stop sequences, then the token limit, which reasoning counts against."""
    if reply.call is None and wish.stop:
        ends = [place for place in (reply.text.find(mark) for mark in wish.stop if mark) if place >= 0]
        if ends:
            reply = replace(reply, text=reply.text[: min(ends)])
    if wish.max_tokens is None or reply.completion_tokens(tokenizer) <= wish.max_tokens:
        return reply
    reasoning = min(reply.reasoning, wish.max_tokens)
    room = wish.max_tokens - reasoning
    if reply.call is None:
        return Reply(tokenizer.truncate(reply.text, room), None, "length", reasoning)
    left = room - tokenizer.count(reply.call.name)
    if left < 0:
        return Reply("", None, "length", reasoning)
    return Reply("", Call(reply.call.name, tokenizer.truncate(reply.call.arguments, left)), "length", reasoning)
