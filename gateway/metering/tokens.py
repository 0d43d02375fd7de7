"""Token estimates, for answers whose usage did not arrive: a cut or abandoned stream, a backend that reports none.

Counted with tiktoken and vocabularies that lie beside this file, never with one that would have to be downloaded. The
chat formula is OpenAI's cookbook's, "How to count tokens with tiktoken": 3 tokens a message, its role and contents, 1
for a name, and 3 for the answer's start. Beyond it: tools count as their JSON, an image as 85, OpenAI's price of one in
low detail.
"""

import asyncio
import hashlib
import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import tiktoken

from gateway.requests import operations
from gateway.requests.bodies import NOT_JSON

VOCABULARIES = Path(__file__).parent / "vocabularies"

SUMS = {
    "o200k_base": (
        "fb374d419588a4632f3f557e76b4b70aebbca790",
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    ),
    "cl100k_base": (
        "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    ),
}
"""Encoding -> file name in the cache folder and SHA-256, both as tiktoken pins them."""

INLINE_BYTES = 4096
"""Text below this many bytes is counted on the event loop: that takes less time than a thread's hand-over."""

LONGEST_RUN = 50_000
"""Characters counted in one go: a million blanks in a row make tiktoken panic, which no `except Exception` catches."""

TOKENS_PER_IMAGE = 85

MOST_WAITING_BYTES = 64 * 1024 * 1024
"""Text that may wait for the thread; beyond it a quarter of the bytes has to do, or abandoned calls would pile up."""

_OLD_MODELS = ("gpt-4-", "gpt-35", "gpt-3.5", "text-embedding", "davinci", "babbage")

logger = logging.getLogger(__name__)


class TokenCounter:
    """Counts tokens; one thread does the long counts, so that the event loop goes on."""

    def __init__(self, folder: Path) -> None:
        """Take the folder with the vocabularies; it must be the one that TIKTOKEN_CACHE_DIR names."""
        self._folder = folder
        self._encodings: dict[str, tiktoken.Encoding | None] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tokens")
        self._waiting_bytes = 0

    def load(self) -> None:
        """Load the vocabulary of today's models; takes half a second of a thread's time."""
        self._encoding("gpt-4o")

    def loaded(self) -> bool | None:
        """Tell whether the vocabulary of today's models is there; None where nobody has loaded it yet."""
        name = _encoding_name("gpt-4o")
        return self._encodings[name] is not None if name in self._encodings else None

    async def request(self, operation: str, model: str, body: bytes) -> int:
        """Return the prompt tokens of a request body; 0 where it holds no prompt that could be read."""
        return await self._run(model, len(body), _request_tokens, self, operation, model, body)

    async def texts(self, model: str, texts: Iterable[str]) -> int:
        """Return the tokens of these texts, each counted by itself."""
        kept = list(texts)
        return await self._run(model, sum(map(len, kept)), _text_tokens, self, model, kept)

    def count(self, model: str, text: str) -> int:
        """Return the tokens of a text; a quarter of its bytes where there is no vocabulary."""
        encoding = self._encoding(model)
        if encoding is None:
            return -(-len(text.encode()) // 4)
        if len(text) <= LONGEST_RUN:
            return len(encoding.encode_ordinary(text))
        runs = (text[start : start + LONGEST_RUN] for start in range(0, len(text), LONGEST_RUN))
        return sum(len(encoding.encode_ordinary(run)) for run in runs)

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _run(self, model: str, size: int, count: Any, *arguments: Any) -> int:
        if size <= INLINE_BYTES and _encoding_name(model) in self._encodings:
            return int(count(*arguments))
        if self._waiting_bytes + size > MOST_WAITING_BYTES:
            return size // 4
        self._waiting_bytes += size
        try:
            return int(await asyncio.get_running_loop().run_in_executor(self._thread, count, *arguments))
        finally:
            self._waiting_bytes -= size

    def _encoding(self, model: str) -> tiktoken.Encoding | None:
        name = _encoding_name(model)
        if name not in self._encodings:
            self._encodings[name] = self._load(name)
        return self._encodings[name]

    def _load(self, name: str) -> tiktoken.Encoding | None:
        file, expected = SUMS[name]
        try:
            content = (self._folder / file).read_bytes()
        except OSError as error:
            logger.warning("No vocabulary %s (%s): tokens are estimated as bytes / 4", name, error.strerror)
            return None
        # Checked before tiktoken looks: it would delete a file that does not match and download another.
        if hashlib.sha256(content).hexdigest() != expected:
            logger.error("The vocabulary %s is not the published one: tokens are estimated as bytes / 4", name)
            return None
        return tiktoken.get_encoding(name)


def _encoding_name(model: str) -> str:
    return "cl100k_base" if model == "gpt-4" or model.startswith(_OLD_MODELS) else "o200k_base"


def _text_tokens(counter: TokenCounter, model: str, texts: list[str]) -> int:
    return sum(counter.count(model, text) for text in texts if text)


def _request_tokens(counter: TokenCounter, operation: str, model: str, body: bytes) -> int:
    try:
        request = msgspec.json.decode(body)
    except NOT_JSON:
        return 0
    if not isinstance(request, dict):
        return 0
    if operation == operations.CHAT:
        return _chat_tokens(counter, model, request)
    if operation == operations.RESPONSES:
        return _responses_tokens(counter, model, request)
    return _plain_tokens(counter, model, request.get("input") or request.get("prompt"))


def _chat_tokens(counter: TokenCounter, model: str, request: Mapping[str, Any]) -> int:
    messages = request.get("messages")
    total = 3 + _tool_tokens(counter, model, request)
    for message in messages if isinstance(messages, list) else []:
        if isinstance(message, dict):
            total += 3 + sum(_message_part(counter, model, key, value) for key, value in message.items())
    return total


def _message_part(counter: TokenCounter, model: str, key: str, value: object) -> int:
    if key == "name":
        return 1 + counter.count(model, str(value))
    if key == "tool_calls" and isinstance(value, list):
        return sum(counter.count(model, text) for call in value for text in _call_texts(call))
    if key in {"role", "content"}:
        return sum(counter.count(model, text) for text in _texts(value)) + TOKENS_PER_IMAGE * _images(value)
    return 0


def _responses_tokens(counter: TokenCounter, model: str, request: Mapping[str, Any]) -> int:
    total = 3 + _tool_tokens(counter, model, request)
    instructions = request.get("instructions")
    if isinstance(instructions, str):
        total += 3 + counter.count(model, "system") + counter.count(model, instructions)
    prompt = request.get("input")
    if isinstance(prompt, str):
        return total + 3 + counter.count(model, "user") + counter.count(model, prompt)
    for item in prompt if isinstance(prompt, list) else []:
        if isinstance(item, dict):
            total += 3 + sum(_message_part(counter, model, key, value) for key, value in item.items())
    return total


def _tool_tokens(counter: TokenCounter, model: str, request: Mapping[str, Any]) -> int:
    tools = request.get("tools") or request.get("functions")
    return counter.count(model, msgspec.json.encode(tools).decode()) if tools else 0


def _plain_tokens(counter: TokenCounter, model: str, prompt: object) -> int:
    if isinstance(prompt, str):
        return counter.count(model, prompt)
    if isinstance(prompt, list):
        texts = sum(counter.count(model, item) for item in prompt if isinstance(item, str))
        return texts + _numbers(prompt) + sum(_numbers(item) for item in prompt if isinstance(item, list))
    return 0


def _numbers(tokens: list[object]) -> int:
    return sum(isinstance(token, int) for token in tokens)


def _texts(content: object) -> Iterable[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in content:
            if isinstance(part, dict) and isinstance(part.get("text"), str):
                yield part["text"]


def _images(content: object) -> int:
    parts = content if isinstance(content, list) else []
    return sum(isinstance(part, dict) and part.get("type") in {"image_url", "input_image"} for part in parts)


def _call_texts(call: object) -> Iterable[str]:
    function = call.get("function") if isinstance(call, dict) else None
    if isinstance(function, dict):
        yield str(function.get("name") or "")
        yield str(function.get("arguments") or "")
