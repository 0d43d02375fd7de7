"""Token estimates against counts by hand, and what becomes of them without a vocabulary."""

import asyncio
import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st

from gateway.metering import tokens as module
from gateway.metering.tokens import INLINE_BYTES, LONGEST_RUN, SUMS, TOKENS_PER_IMAGE, VOCABULARIES, TokenCounter

MODEL = "gpt-4o"


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[TokenCounter]:
    """A counter without vocabularies."""
    counter = TokenCounter(tmp_path)
    yield counter
    counter.close()


async def chat(counter: TokenCounter, *messages: Any, **more: Any) -> int:
    return await counter.request("chat/completions", MODEL, json.dumps({"messages": messages, **more}).encode())


def test_the_vocabularies_are_the_published_ones() -> None:
    """The files that travel with the gateway have the sums that tiktoken pins."""
    for file, expected in SUMS.values():
        assert hashlib.sha256((VOCABULARIES / file).read_bytes()).hexdigest() == expected


@pytest.mark.parametrize(
    ("model", "text", "tokens"),
    [
        ("gpt-4o", "hello world", 2),
        ("gpt-4o", "", 0),
        ("gpt-4", "tiktoken is great!", 6),
        ("text-embedding-3-small", "antidisestablishmentarianism", 6),
        ("gpt-5-mini", "<|endoftext|>", 7),
    ],
)
def test_counts(counter: TokenCounter, model: str, text: str, tokens: int) -> None:
    """Counts of today's and yesterday's models; what looks like a special token is text."""
    assert counter.count(model, text) == tokens


async def test_the_chat_formula(counter: TokenCounter) -> None:
    """Three tokens a message, its role and content, one for a name, three for the answer's start."""
    assert await chat(counter) == 3
    # 3 for the answer; the message's 3, `user` 1, `hello world` 2.
    assert await chat(counter, {"role": "user", "content": "hello world"}) == 9
    # The name is a token of its own and its text, `bob` 1.
    assert await chat(counter, {"role": "user", "name": "bob", "content": "hello world"}) == 11
    assert await chat(counter, *[{"role": "user", "content": "hello world"}] * 10) == 3 + 10 * 6


async def test_parts_tools_and_pictures(counter: TokenCounter) -> None:
    """Text parts count as text, a picture by its low price, calls and tools by their text."""
    parts = [
        {"type": "text", "text": "hello world"},
        {"type": "image_url", "image_url": {"url": "data:," + "x" * 9999}},
    ]
    assert await chat(counter, {"role": "user", "content": parts}) == 9 + TOKENS_PER_IMAGE
    call = {"id": "call_1", "type": "function", "function": {"name": "hello", "arguments": " world"}}
    assert await chat(counter, {"role": "assistant", "content": None, "tool_calls": [call]}) == 3 + 3 + 1 + 2
    tools = [{"type": "function", "function": {"name": "f"}}]
    expected = counter.count(MODEL, json.dumps(tools, separators=(",", ":")))
    assert await chat(counter, tools=tools) == 3 + expected


async def test_other_operations(counter: TokenCounter) -> None:
    """Embeddings, completions and responses are counted by their input, texts and token numbers alike."""
    plain: list[tuple[dict[str, Any], int]] = [
        ({"input": "hello world"}, 2),
        ({"input": ["hello world", "hello world"]}, 4),
        ({"input": [1, 2, 3]}, 3),
        ({"input": [[1, 2], [3]]}, 3),
        ({"prompt": "hello world"}, 2),
        ({}, 0),
    ]
    for body, tokens in plain:
        assert await counter.request("embeddings", MODEL, json.dumps(body).encode()) == tokens
    responses: list[tuple[dict[str, Any], int]] = [
        ({"input": "hello world"}, 9),
        ({"input": [{"role": "user", "content": [{"type": "input_text", "text": "hello world"}]}]}, 9),
        ({"instructions": "hello world", "input": "hello world"}, 15),
    ]
    for body, tokens in responses:
        assert await counter.request("responses", MODEL, json.dumps(body).encode()) == tokens


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--boundary\r\n",
        b"[]",
        b'{"messages":"x","tools":"","input":7}',
        b'{"messages":[1,{"role":1,"content":{}},{"content":[1,{"text":2}],"tool_calls":[1,{"function":[]}]}]}',
        b'{"messages":[{"content":"\xff"}]}',
        b'{"input":' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"input":' + b"[" * 100_000,
        b'{"tools":[1e400]}',
    ],
    ids=range(9),
)
@pytest.mark.parametrize("operation", ["chat/completions", "completions", "embeddings", "responses", "audio/speech"])
async def test_bodies_that_cannot_be_read(counter: TokenCounter, operation: str, body: bytes) -> None:
    """No body makes an estimate fail: an event would be lost with it."""
    assert 0 <= await counter.request(operation, MODEL, body) < 100


async def test_a_million_blanks(counter: TokenCounter) -> None:
    """A run that makes tiktoken panic is counted all the same, and cuts cost a token or two each."""
    text = " " * 1_000_000
    assert 0 < await counter.texts(MODEL, [text]) < len(text)
    long = "hello world " * 20_000
    exact = len(tiktoken.get_encoding("o200k_base").encode_ordinary(long))
    assert abs(counter.count(MODEL, long) - exact) <= 2 * (len(long) // LONGEST_RUN)


@given(st.text(max_size=200))
def test_any_text_is_counted(counter: TokenCounter, text: str) -> None:
    """Text of any characters has at most a token a byte."""
    said = text.encode("utf-8", "replace").decode()
    assert 0 <= counter.count(MODEL, said) <= len(said.encode())


async def test_long_texts_are_counted_elsewhere(counter: TokenCounter, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short text is counted on the event loop, a long one on the counter's thread."""
    threads: list[str] = []
    real = TokenCounter.count

    def watched(self: TokenCounter, model: str, text: str) -> int:
        threads.append(threading.current_thread().name)
        return real(self, model, text)

    monkeypatch.setattr(TokenCounter, "count", watched)
    await counter.texts(MODEL, ["short"])
    await counter.texts(MODEL, ["x " * INLINE_BYTES])
    await chat(counter, {"role": "user", "content": "x " * INLINE_BYTES})
    assert threads[0] == threading.current_thread().name
    assert len(threads) > 3
    assert all(name.startswith("tokens") for name in threads[1:])


async def test_a_vocabulary_is_loaded_off_the_loop(empty: TokenCounter, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first count by a vocabulary loads it on the thread, however short the text is."""
    threads: list[str] = []

    def loaded(self: TokenCounter, name: str) -> None:
        threads.append(threading.current_thread().name)

    monkeypatch.setattr(TokenCounter, "_load", loaded)
    assert empty.loaded() is None
    for model in ("gpt-4o", "text-embedding-3-small", "gpt-4o"):
        await empty.texts(model, ["short"])
    assert len(threads) == 2
    assert all(name.startswith("tokens") for name in threads)


async def test_the_loop_goes_on(counter: TokenCounter) -> None:
    """While a long text is counted, other tasks run."""
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            beats += 1
            await asyncio.sleep(0)

    beating = asyncio.create_task(beat())
    await counter.texts(MODEL, ["hello world " * 20_000])
    beating.cancel()
    assert beats > 10


@pytest.mark.parametrize("content", [None, b"", b"IQ== 0\n"])
def test_without_a_vocabulary(
    empty: TokenCounter, tmp_path: Path, content: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A vocabulary that is missing or not the published one is not used, not deleted and not fetched: bytes / 4."""
    file = tmp_path / SUMS["o200k_base"][0]
    if content is not None:
        file.write_bytes(content)

    def fetched(*_: object) -> None:
        pytest.fail("tiktoken was asked for a vocabulary")

    monkeypatch.setattr(tiktoken, "get_encoding", fetched)
    empty.load()
    assert empty.loaded() is False
    assert [empty.count(MODEL, text) for text in ("12345678", "é", "")] == [2, 1, 0]
    assert (file.read_bytes() if file.exists() else None) == content
    assert len(list(tmp_path.iterdir())) == (content is not None)


def test_a_copy_of_the_vocabularies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the published files is as good as ours."""
    for file, _ in SUMS.values():
        shutil.copy(VOCABULARIES / file, tmp_path)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    copied = TokenCounter(tmp_path)
    copied.load()
    assert copied.loaded()
    assert copied.count(MODEL, "hello world") == 2
    copied.close()


async def test_what_waits_has_a_bound(counter: TokenCounter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where too much text waits for the thread, a quarter of the bytes is taken at once."""
    monkeypatch.setattr(module, "MOST_WAITING_BYTES", 10_000)
    assert await counter.texts("gpt-4o", ["x" * 20_000]) == 5_000
    assert await counter.texts("gpt-4o", ["hello " * 1_000]) < 2_000
