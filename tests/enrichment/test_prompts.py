"""Instructions as versioned data."""

import hashlib
import re

import pytest

from enrichment.prompts.digest import DIGEST
from enrichment.prompts.paragraph import PARAGRAPH
from enrichment.prompts.prompt import Prompt
from enrichment.tasks.registry import TASKS

PROMPTS: list[Prompt] = [PARAGRAPH, DIGEST, *(task.prompt for task in TASKS.values() if task.prompt)]
PINNED = {
    "paragraph/1": "ae474de1d29286ec",
    "digest/1": "4381fe789e2b16a8",
    "summary/1": "9fc525228d31b5a1",
    "classification/1": "4ba62eb53b703ede",
    "sentiment/1": "ececef530cabffe9",
    "entities/1": "38f94ade6d94ea85",
    "next_steps/1": "6cee21ff1273bf29",
    "resolution_notes/1": "76aa1aed895647df",
    "knowledge_article/1": "d1d46e253d49bb85",
    "reply/1": "4c7e76c6888e1d7b",
}


@pytest.mark.parametrize("prompt", PROMPTS, ids=lambda prompt: prompt.name)
def test_a_changed_text_is_a_new_version(prompt: Prompt) -> None:
    """The text of a version never changes: evaluations and bills refer to it."""
    assert hashlib.sha256(prompt.text.encode()).hexdigest()[:16] == PINNED[prompt.label]


@pytest.mark.parametrize("prompt", PROMPTS, ids=lambda prompt: prompt.name)
def test_a_version_fits_into_the_usage_events_label(prompt: Prompt) -> None:
    """The gateway takes 64 letters, digits and some signs."""
    assert re.fullmatch(r"[\w .:/@-]{1,64}", prompt.workload, re.ASCII)


@pytest.mark.parametrize("prompt", PROMPTS, ids=lambda prompt: prompt.name)
def test_every_instruction_names_the_fence(prompt: Prompt) -> None:
    """What is data is said in each of them, and no place is left unfilled."""
    filled = prompt.filled(mark="m4rk", hiding="", language="German (de)", choices="")
    assert "<ticket-m4rk>" in filled
    assert not re.search(r"\{\w*\}", filled)
