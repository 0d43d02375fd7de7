"""Placeholders: personal data gives way to marks such as `[EMAIL-1]` before a text goes to a model, and returns after.

A text that looks like a placeholder already is hidden as well, as `[TEXT-1]`, so that nothing which was there before
can be taken for something that was hidden.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from enrichment.privacy import hosts, numbers
from enrichment.privacy.names import Names
from enrichment.privacy.numbers import Span

LITERAL: Final = "TEXT"
_FINDERS: Final[tuple[tuple[str, Callable[[str], Iterator[Span]]], ...]] = (
    ("EMAIL", hosts.emails),
    ("IBAN", numbers.ibans),
    ("CARD", numbers.cards),
    ("IP", numbers.addresses),
    ("HOST", hosts.hosts),
    ("USER", hosts.accounts),
    ("PHONE", numbers.phones),
)
"""Where finds overlap, the first kind here gives the name."""

KINDS: Final = (*(kind for kind, _ in _FINDERS), LITERAL)

RULE: Final = (
    "Marks such as [EMAIL-1], [PHONE-2] or [USER-1] stand for data that is hidden from you: a mark is always the same "
    "value. Where you need the value, repeat its mark exactly as it is, brackets included; never translate it, never "
    "make one up."
)
"""For the instructions of a model that is given hidden texts."""

_KIND: Final = "|".join(KINDS)
_DASH: Final = r"[-_ \u2010-\u2015\u2212]"
_INSIDE: Final = rf"[ ]{{0,2}}(?:{_KIND})[ ]{{0,2}}{_DASH}[ ]{{0,2}}\d{{1,6}}[ ]{{0,2}}"
_MARK: Final = re.compile(
    # As it was made, or in another case, with other spaces and dashes, with brackets escaped for Markdown or wide.
    rf"(?i:\\\[{_INSIDE}\\\]|\[{_INSIDE}\]|\uff3b{_INSIDE}\uff3d)"
    # Or without its brackets, but exactly so.
    rf"|(?<![\w\[\]@.\\-])(?:{_KIND})-\d{{1,6}}(?![\w\[\]@\\-]|\.\w)"
)
_SIGNS: Final = ("[", "\uff3b", *(f"{kind}-" for kind in KINDS))
_PARTS: Final = re.compile(r"([A-Za-z]+)[^A-Za-z\d]*(\d+)")
_BEGUN: Final = re.compile(
    r"(?:\\?[\[\uff3b][\w \\\u2010-\u2015\u2212-]{0,28}|(?<![A-Za-z])[A-Z]{1,5}(?:-\d{0,6}\.?)?|\\)\Z"
)
"""What may become a mark when more text comes."""

_LONGEST: Final = 32
"""Characters: no mark and nothing that looks like one is longer."""


class _Find(NamedTuple):
    start: int
    end: int
    kind: str


class Placeholders:
    """What one request hides. The same value has the same mark in all its texts.

    `names` are people of whom the ticket tells by name: its caller, the authors of its journals.
    `restore(hide(text)) == text` for every text.
    """

    def __init__(self, names: Iterable[str] | Names = ()) -> None:
        self._names = names if isinstance(names, Names) else Names(names)
        self._marks: dict[tuple[str, str], str] = {}
        self._values: dict[tuple[str, int], str] = {}
        self._counts = dict.fromkeys(KINDS, 0)
        self._hidden: dict[str, str] = {}  # every task of a request shows its model the same texts

    def hide(self, text: str) -> str:
        """Return the text with a mark in the place of each e-mail address, number, machine and name."""
        hidden = self._hidden.get(text)
        if hidden is None:
            hidden = self._hidden[text] = self._hide(text)
        return hidden

    def restore(self, text: str) -> str:
        """Return the text with the values back in the place of their marks; a mark that was never given stays."""
        return _MARK.sub(self._value, text) if self._values and _may_hold_marks(text) else text

    def apart(self) -> "Placeholders":
        """Return one that knows the same names and numbers by itself, for texts of which nothing is to return."""
        return Placeholders(self._names)

    def restoring(self) -> "Restoring":
        """Return what restores one text that comes in pieces."""
        return Restoring(self._value)

    def _hide(self, text: str) -> str:
        pieces: list[str] = []
        reached = 0
        for find in self._finds(text):
            pieces += (text[reached : find.start], self._mark(find.kind, text[find.start : find.end]))
            reached = find.end
        return "".join((*pieces, text[reached:])) if pieces else text

    def _finds(self, text: str) -> list[_Find]:
        ordered = [_Find(*span, kind) for kind, finder in _FINDERS for span in finder(text)]
        ordered += [_Find(*span, "USER") for span in self._names.spans(text)]
        if _may_hold_marks(text):
            ordered += [_Find(*match.span(), LITERAL) for match in _MARK.finditer(text)]
        ordered.sort()
        return list(_merged(ordered))

    def _mark(self, kind: str, value: str) -> str:
        mark = self._marks.get((kind, value))
        if mark is None:
            self._counts[kind] += 1
            number = self._counts[kind]
            mark = self._marks[kind, value] = f"[{kind}-{number}]"
            self._values[kind, number] = value
        return mark

    def _value(self, match: re.Match[str]) -> str:
        parts = _PARTS.search(match[0])
        return self._values.get((parts[1].upper(), int(parts[2])), match[0]) if parts else match[0]


class Restoring:
    """Puts values back into a text that comes in pieces, wherever the pieces part. Holds back no more than a mark."""

    def __init__(self, value: Callable[[re.Match[str]], str]) -> None:
        self._value = value
        self._text = ""
        self._done = 0

    def feed(self, piece: str) -> str:
        """Return what can be told of the text so far."""
        self._text = self._text[max(0, self._done - 1) :] + piece
        self._done = min(self._done, 1)
        begun = _BEGUN.search(self._text, max(self._done, len(self._text) - _LONGEST))
        return self._told(begun.start() if begun else len(self._text))

    def end(self) -> str:
        """Return what was held back."""
        return self._told(len(self._text))

    def _told(self, until: int) -> str:
        told: list[str] = []
        # The character before is kept: a mark without brackets is none inside a word.
        for match in _MARK.finditer(self._text, self._done):
            if match.end() > until:
                break
            told += (self._text[self._done : match.start()], self._value(match))
            self._done = match.end()
        told.append(self._text[self._done : until])
        self._done = max(self._done, until)
        return "".join(told)


def _may_hold_marks(text: str) -> bool:
    return any(sign in text for sign in _SIGNS)


def _merged(ordered: Iterable[_Find]) -> Iterator[_Find]:
    """Yield finds without overlaps: those that overlap become one, under the kind that comes first."""
    current: _Find | None = None
    for find in ordered:
        if current is not None and find.start < current.end:
            kind = min(current.kind, find.kind, key=KINDS.index)
            current = _Find(current.start, max(current.end, find.end), kind)
        else:
            if current is not None:
                yield current
            current = find
    if current is not None:
        yield current
