"""Grounding: a sentence about a ticket stays only where it names parts of the ticket that exist."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from pydantic import BaseModel

from enrichment.answers.answers import TaskWarning
from enrichment.answers.findings import Citation

MAX_SENTENCES: Final = 20
_NAME: Final = re.compile(r"[a-z_]+(?:-\d+)?")
_IDEOGRAPHS: Final = "\u2e80"
"""From here on scripts end sentences in their own ways."""
_CLOSING: Final = "\"')]}\u00bb\u2019\u201d"
_SPACE: Final = re.compile(r"[\W_]+")


class Sentence(BaseModel):
    """A sentence as models write it: what it rests on comes first."""

    entries: list[str]
    sentence: str


def cited(entries: Iterable[str], names: frozenset[str]) -> tuple[tuple[str, ...], bool]:
    """Return the entries that exist, each once, and whether there were others."""
    named = [name for entry in entries for name in (_NAME.findall(entry.lower()) or [entry])]
    known = tuple(dict.fromkeys(name for name in named if name in names))
    return known, any(name not in names for name in named)


def grounded(
    sentences: Sequence[Sentence], names: frozenset[str]
) -> tuple[tuple[Citation, ...], tuple[TaskWarning, ...]]:
    """Return the sentences that rest on parts of the ticket, and a warning for each kind of flaw."""
    kept: list[Citation] = []
    warnings: dict[str, TaskWarning] = {}
    for each in sentences[:MAX_SENTENCES]:
        known, others = cited(each.entries, names)
        text = " ".join(each.sentence.split())
        if others:
            warnings["unknown_entry"] = TaskWarning(
                code="unknown_entry", message="The model cited entries that the ticket does not have."
            )
        if text and known:
            kept.append(Citation(sentence=text, entries=known))
        elif text:
            warnings["sentence_not_grounded"] = TaskWarning(
                code="sentence_not_grounded", message="Sentences that rest on no entry of the ticket were dropped."
            )
    return tuple(kept), tuple(warnings.values())


def joined(citations: Iterable[Citation]) -> str:
    """Return the sentences as one text, each with an end."""
    return " ".join(_ended(citation.sentence) for citation in citations)


def _ended(sentence: str) -> str:
    last = sentence.rstrip(_CLOSING)[-1:]
    return f"{sentence}." if last.isalnum() and last < _IDEOGRAPHS else sentence


def searchable(text: str) -> str:
    """Return a text's words with one space around each, so that quotations are found whatever stands between them."""
    return f" {_SPACE.sub(' ', text.casefold()).strip()} "
