"""Tickets whose parts stand under their names in square brackets, as answers quote and cite them.

[short_description]
Rain leaks on the main DNS server
[work_notes-1] 2023-07-11 16:41:33, Beth
Buckets were put out.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from local.simulator import extracts, topics

_HEADING: Final = re.compile(r"\[([a-z_]+(?:-\d+)?(?:, [a-z_]+(?:-\d+)?)*)\](?:\s.*)?")
_SOLVED: Final = re.compile(
    r"(?i:\b(?:resolved|solved|fixed|replaced|restarted|reinstalled|reverted|installed|workaround|renewed|restored)\b)"
)
_CAUSED: Final = re.compile(r"(?i:\b(?:because|due to|turns out|caused by)\b)")
_NAMED: Final = re.compile(
    r"\b(?:[A-Z][\w-]*[A-Z\d][\w-]*|\d+[A-Z][\w-]*|0x[0-9a-fA-F]{4,8}|[A-Z][a-z]+(?: [A-Z][a-z]+)+)\b"
)
_FIELDS: Final = ("short_description", "description")
_LONGEST_TEXT: Final = 50_000
"""Characters that are looked at."""


@dataclass(frozen=True, slots=True)
class Quotation:
    """A sentence, and the names of the parts that it stands in."""

    entries: tuple[str, ...]
    sentence: str


class TicketText:
    """The quotations of a ticket, in its order."""

    def __init__(self, quotations: Sequence[Quotation]) -> None:
        self.quotations = quotations

    @classmethod
    def read(cls, text: str) -> "TicketText | None":
        """Return the ticket in a text, or None where it names no parts."""
        parts = list(_parts(text[:_LONGEST_TEXT]))
        found = [
            Quotation(names, sentence) for names, lines in parts for sentence in extracts.sentences("\n".join(lines))
        ]
        distinct = {quotation.sentence: quotation for quotation in reversed(found)}
        return cls(list(distinct.values())[::-1]) if parts else None

    @property
    def text(self) -> str:
        return "\n".join(quotation.sentence for quotation in self.quotations)

    @property
    def sentences(self) -> list[str]:
        return [quotation.sentence for quotation in self.quotations]

    def pool(self, name: str) -> list[Quotation]:
        """Return what a list of this name is made of: what is wrong, what was done, what solved it, or anything."""
        if name == "entities":
            return self.named()
        if name == "steps":
            return list(reversed(self._those(lambda each: _is_field(each) or _is_entry(each))))
        if name == "resolution":
            return self._those(_is_closing) or self._those(lambda each: _is_entry(each) and _says(_SOLVED, each))
        return self._those(_POOLS.get(name, lambda _: True))

    def _those(self, fit: Callable[[Quotation], bool]) -> list[Quotation]:
        return [quotation for quotation in self.quotations if fit(quotation)]

    def named(self) -> list[Quotation]:
        """Return the things with names of their own, each in place of its sentence."""
        found = {
            name: Quotation(quotation.entries, name)
            for quotation in reversed(self.quotations)
            for name in reversed(_NAMED.findall(quotation.sentence))
        }
        return list(found.values())[::-1]


def verdict(options: Sequence[str], text: str, sentences: Sequence[str], *, may_abstain: bool) -> dict[str, Any]:
    """Return evidence, value and confidence of a classification."""
    value, decided = topics.choice(options, text)
    evidence = topics.speaks_for(value, sentences)
    if not decided and may_abstain and not any(map(str.isdigit, value)):
        return {"evidence": evidence, "value": None, "confidence": 0.3}
    if not decided and not may_abstain:
        return {"evidence": "", "value": value, "confidence": 0.8}
    return {"evidence": evidence, "value": value, "confidence": 0.92 if decided else 0.55}


def _is_entry(quotation: Quotation) -> bool:
    return "-" in quotation.entries[0]


def _is_field(quotation: Quotation) -> bool:
    return quotation.entries[0] in _FIELDS


def _is_closing(quotation: Quotation) -> bool:
    return quotation.entries[0] == "close_notes"


def _says(what: re.Pattern[str], quotation: Quotation) -> bool:
    return what.search(quotation.sentence) is not None


_POOLS: Final[Mapping[str, Callable[[Quotation], bool]]] = {
    "issue": _is_field,
    "symptoms": _is_field,
    "actions_taken": _is_entry,
    "cause": lambda quotation: _says(_CAUSED, quotation),
}


def _parts(text: str) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Yield the names over each part, and its lines."""
    names: tuple[str, ...] = ()
    lines: list[str] = []
    for line in text.splitlines():
        heading = _HEADING.fullmatch(line.strip())
        if heading:
            if names:
                yield names, lines
            names, lines = tuple(heading[1].split(", ")), []
        else:
            lines.append(line)
    if names:
        yield names, lines
