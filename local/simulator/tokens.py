"""How many tokens the simulator bills: tiktoken's counts, by OpenAI's published formula.

A chat prompt costs 3 tokens for each message, the tokens of its role, content and name, 1 more for a name, and 3 that
prime the answer (OpenAI Cookbook, "How to count tokens with tiktoken"). Beyond the cookbook's formula: the compact JSON
of `tools` and of `functions` is counted as text, an assistant's tool calls cost their names and arguments, and an image
part costs 85, OpenAI's price of a low-detail image. A completion costs the tokens of its whole text; a tool call those
of its name and of its arguments.
"""

import hashlib
import os
from array import array
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import msgspec
import tiktoken

TOKENS_PER_MESSAGE = 3
TOKENS_PER_NAME = 1
TOKENS_PRIMING = 3
TOKENS_PER_IMAGE = 85

VOCABULARY_FILES = {
    "o200k_base": "fb374d419588a4632f3f557e76b4b70aebbca790",
    "cl100k_base": "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
}
OLDER_MODELS = ("gpt-35-", "gpt-3.5", "gpt-4-", "gpt-4", "text-embedding-", "davinci", "babbage")
NEWER_MODELS = ("gpt-4o", "gpt-4.1", "gpt-4.5")

CACHE_FROM = 1024
CACHE_STEP = 128


class VocabularyMissing(Exception):
    """A vocabulary is not in its folder, and nothing is downloaded."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer: `cached` is a subset of `prompt`, `reasoning` of `completion`."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0
    reasoning: int = 0


class Tokenizer:
    """Counts with one vocabulary; counts of texts that come again are kept, up to a bound."""

    def __init__(self, encoding: tiktoken.Encoding) -> None:
        self.encode = encoding.encode_ordinary
        self._encoding = encoding
        self.count = lru_cache(maxsize=4096)(self._count)

    def _count(self, text: str) -> int:
        return len(self.encode(text))

    def truncate(self, text: str, limit: int) -> str:
        """Return the longest beginning of `text`, cut between tokens, that costs at most `limit` tokens."""
        ids = self.encode(text)
        if len(ids) <= limit:
            return text
        for end in range(max(limit, 0), 0, -1):
            # A cut inside a character leaves a replacement character behind, which was never in the text.
            head = self._encoding.decode(ids[:end], errors="ignore")
            if self.count(head) <= limit:
                return head
        return ""


class Tokenizers:
    """The vocabularies of a process, loaded once; loading takes about 0.6 s, so off the event loop."""

    def __init__(self, folder: Path) -> None:
        """Load them from `folder`. Raises VocabularyMissing."""
        missing = [name for name in VOCABULARY_FILES.values() if not (folder / name).is_file()]
        if missing:
            raise VocabularyMissing(f"no {', '.join(missing)} in {folder}")
        # tiktoken takes its folder from the environment alone, and would download what it does not find there.
        os.environ["TIKTOKEN_CACHE_DIR"] = str(folder)
        self._older = Tokenizer(tiktoken.get_encoding("cl100k_base"))
        self._newer = Tokenizer(tiktoken.get_encoding("o200k_base"))

    def of(self, model: str) -> Tokenizer:
        """Return o200k_base for gpt-4o and later, cl100k_base for what came before."""
        older = model.startswith(OLDER_MODELS) and not model.startswith(NEWER_MODELS)
        return self._older if older else self._newer


class Part(msgspec.Struct, frozen=True):
    """One part of a message's content, in chat's or in the Responses API's words."""

    type: str = "text"
    text: str | None = None


class FunctionCall(msgspec.Struct, frozen=True):
    name: str = ""
    arguments: str = ""


class MessageCall(msgspec.Struct, frozen=True):
    function: FunctionCall = FunctionCall()


class Message(msgspec.Struct, frozen=True):
    """A message as the caller sent it; fields that cost nothing are left out."""

    role: str
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: list[MessageCall] | None = None

    def text(self) -> str:
        """Return the content's text, its parts a line each."""
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content if part.text)
        return self.content or ""


class Priced(Protocol):
    """What can be counted: texts, and a number of tokens that belongs to no text."""

    def texts(self) -> Iterator[str]: ...

    @property
    def surcharge(self) -> int: ...


@dataclass(frozen=True, slots=True)
class ChatPrompt:
    """Messages and tool definitions as they are priced."""

    messages: Sequence[Message]
    definitions: Sequence[Sequence[dict[str, Any]]] = ()

    def texts(self) -> Iterator[str]:
        for definitions in self.definitions:
            yield msgspec.json.encode(definitions).decode()
        for message in self.messages:
            yield message.role
            if isinstance(message.content, str):
                yield message.content
            else:
                yield from (part.text for part in message.content or () if part.text)
            if message.name:
                yield message.name
            for call in message.tool_calls or ():
                yield call.function.name
                yield call.function.arguments

    @property
    def surcharge(self) -> int:
        names = sum(1 for message in self.messages if message.name)
        images = sum(
            1
            for message in self.messages
            if isinstance(message.content, list)
            for part in message.content
            if "image" in part.type
        )
        fixed = TOKENS_PER_MESSAGE * len(self.messages) + TOKENS_PRIMING
        return fixed + TOKENS_PER_NAME * names + TOKENS_PER_IMAGE * images


@dataclass(frozen=True, slots=True)
class PlainPrompt:
    """Texts that are priced as they stand: embeddings and legacy completions."""

    inputs: Sequence[str]

    def texts(self) -> Iterator[str]:
        return iter(self.inputs)

    @property
    def surcharge(self) -> int:
        return 0


def prompt_tokens(prompt: Priced, tokenizer: Tokenizer) -> int:
    """Return what a prompt costs, by the formula in this module's docstring."""
    return prompt.surcharge + sum(map(tokenizer.count, prompt.texts()))


class PrefixCache:
    """Beginnings of prompts that a backend has seen, as Azure's prompt caching reports them.

    A hit needs 1024 tokens in common and grows in steps of 128 (Azure OpenAI, "Prompt caching").
    """

    def __init__(self, bound: int = 50_000) -> None:
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._bound = bound

    def look_up(self, prompt: Priced, tokenizer: Tokenizer) -> int:
        """Return how many tokens of the prompt's beginning were seen before, and remember this prompt."""
        ids = array("I")
        for text in prompt.texts():
            ids.extend(tokenizer.encode(text))
        digest, cached = hashlib.blake2b(digest_size=16), 0
        for end in range(CACHE_STEP, len(ids) + 1, CACHE_STEP):
            digest.update(ids[end - CACHE_STEP : end].tobytes())
            if end < CACHE_FROM:
                continue
            key = digest.digest()
            if key in self._seen:
                cached = end
            self._seen[key] = None
            self._seen.move_to_end(key)
        while len(self._seen) > self._bound:
            self._seen.popitem(last=False)
        return cached

    def clear(self) -> None:
        self._seen.clear()
