from pathlib import Path
from typing import Any

import pytest

from local.simulator.tokens import (
    ChatPrompt,
    Message,
    Part,
    PlainPrompt,
    PrefixCache,
    Tokenizer,
    Tokenizers,
    VocabularyMissing,
    prompt_tokens,
)


def test_a_missing_vocabulary_fails_loudly(tmp_path: Path) -> None:
    """Nothing is downloaded and nothing is guessed: the start fails."""
    with pytest.raises(VocabularyMissing, match="9b5ad71b"):
        Tokenizers(tmp_path)


@pytest.mark.parametrize(
    ("model", "older"),
    [
        ("gpt-4o-2024-11-20", False),
        ("gpt-4.1-mini", False),
        ("o4-mini", False),
        ("gpt-5", False),
        ("gpt-4", True),
        ("gpt-4-32k", True),
        ("gpt-35-turbo", True),
        ("text-embedding-3-small", True),
    ],
)
def test_models_from_gpt_4o_on_count_with_the_newer_vocabulary(tokenizers: Tokenizers, model: str, older: bool) -> None:
    """The two vocabularies count this word differently."""
    word = "Donaudampfschifffahrtsgesellschaftskapitän"
    assert (tokenizers.of(model).count(word) == tokenizers.of("gpt-4").count(word)) == older


def test_parts_images_and_tools_are_priced(tokenizer: Tokenizer) -> None:
    """Text parts cost their tokens, an image 85, tools their compact JSON."""
    tools: list[dict[str, Any]] = [{"type": "function", "function": {"name": "ab", "parameters": {}}}]
    prompt = ChatPrompt([Message("user", [Part("text", "Hi"), Part("image_url")])], [tools])
    compact = '[{"type":"function","function":{"name":"ab","parameters":{}}}]'
    count = tokenizer.count
    assert prompt_tokens(prompt, tokenizer) == 3 + count("user") + count("Hi") + 85 + count(compact) + 3


def test_special_tokens_in_a_prompt_are_plain_text(tokenizer: Tokenizer) -> None:
    """A caller cannot spell a control token."""
    assert tokenizer.count("<|endoftext|>") > 1


def test_cached_prefixes_start_at_1024_and_grow_by_128(tokenizer: Tokenizer) -> None:
    """Only what two prompts have in common from the start counts, and what was dropped is forgotten."""
    cache = PrefixCache(bound=5)
    long = PlainPrompt([" word" * 1400])
    assert cache.look_up(long, tokenizer) == 0
    assert cache.look_up(PlainPrompt([" word" * 1300 + " else" * 200]), tokenizer) == 1280
    assert cache.look_up(PlainPrompt([" word" * 1000]), tokenizer) == 0
    assert cache.look_up(PlainPrompt([" other" * 2000]), tokenizer) == 0
    cache.clear()
    assert cache.look_up(long, tokenizer) == 0
