"""Names of people that come with a ticket, found again in its texts: whole, or one of their words as it is written."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final

from enrichment.privacy.numbers import Span

MOST_NAMES: Final = 1_000
LONGEST_NAME: Final = 100
"""Characters. What is longer is no name."""

_WORD: Final = re.compile(r"[^\W_]+(?:_[^\W_]+)*")
_SHORTEST: Final = 3
_NOBODY: Final = frozenset({
    "admin", "administrator", "agent", "analyst", "anonymous", "api", "assistant", "automation", "batch", "bot",
    "caller", "client", "customer", "desk", "dev", "employee", "engineer", "glide", "guest", "help", "helpdesk",
    "integration", "it", "job", "level", "maint", "manager", "monitor", "monitoring", "network", "operations",
    "operator", "ops", "process", "robot", "root", "scheduler", "security", "server", "service", "services",
    "staff", "support", "system", "team", "technician", "tier", "unknown", "user", "virtual", "web",
    "webservice", "workflow",
})  # fmt: skip
"""Words of accounts that are nobody in particular; they are words of tickets, too."""


class Names:
    """The names of one ticket. A name that consists of `_NOBODY`'s words alone is none."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names: set[tuple[str, ...]] = set()
        self._lengths: dict[str, list[int]] = {}
        self._parts: set[str] = set()
        self._words: set[str] = set()
        self._wide: set[str] = set()
        for name in names:
            if len(self._names) + len(self._wide) >= MOST_NAMES:
                break
            self._add(name.strip())

    def spans(self, text: str) -> Iterator[Span]:
        """Yield where names stand; spans may overlap."""
        yield from self._spans_of_wide(text)
        if self._words.isdisjoint(_WORD.findall(text.casefold())):
            return
        words = list(_WORD.finditer(text))
        for place, word in enumerate(words):
            end = self._whole(text, words, place)
            if end or word[0] in self._parts:
                yield word.start(), end or word.end()

    def _add(self, name: str) -> None:
        if not 1 < len(name) <= LONGEST_NAME:
            return
        if any(unicodedata.east_asian_width(each) in "WF" for each in name):
            self._wide.add(name)
            return
        words = _WORD.findall(name)
        folded = tuple(word.casefold() for word in words)
        if not folded or all(word in _NOBODY or word.isdigit() for word in folded) or len(name) < _SHORTEST:
            return
        self._names.add(folded)
        lengths = self._lengths.setdefault(folded[0], [])
        if len(folded) not in lengths:
            lengths.append(len(folded))
            lengths.sort(reverse=True)
        if len(words) > 1:
            self._parts.update(word for word in words if _is_part(word))
        self._words = {*self._lengths, *(part.casefold() for part in self._parts)}

    def _whole(self, text: str, words: list[re.Match[str]], place: int) -> int:
        """Return where the longest name ends that begins with this word; 0 where there is none."""
        for length in self._lengths.get(words[place][0].casefold(), ()):
            found = words[place : place + length]
            if tuple(word[0].casefold() for word in found) in self._names and _together(text, found):
                return found[-1].end()
        return 0

    def _spans_of_wide(self, text: str) -> Iterator[Span]:
        # Scripts without spaces between words have no borders to look for.
        for name in self._wide if not text.isascii() else ():
            start = text.find(name)
            while start >= 0:
                yield start, start + len(name)
                start = text.find(name, start + len(name))


def _is_part(word: str) -> bool:
    return len(word) >= _SHORTEST and word[0].isupper() and word.casefold() not in _NOBODY


def _together(text: str, words: list[re.Match[str]]) -> bool:
    gaps = (text[before.end() : after.start()] for before, after in pairwise(words))
    return all(gap.isspace() or len(gap) <= 2 for gap in gaps)
