"""Text that is data: cleaned of what nobody can see, and fenced off so that a model can tell it from its instructions.

Invisible characters (zero-width, bidirectional, tags, variation selectors, controls) can carry instructions that no
human reviewer sees, and lone surrogates cannot be encoded at all. The fence's mark is drawn anew for each request, so
that no text can close a fence that it has not seen. Inside the fence a sign stands in the place of every space and at
the beginning of every line of data (spotlighting by datamarking: Hines et al., arXiv 2403.14720), so that data is told
from instructions at every word, and no line of it can pass for the name of an entry.
"""

import re
import unicodedata
from typing import Final

_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cn", "Co", "Cs"})
_KEPT: Final = frozenset("\n\t")
_ASCII_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_VARIATION_SELECTORS: Final = frozenset(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))

SIGN: Final = "^"
"""Costs one token a word; the private-use characters of the paper cost two."""
OWN_SIGN: Final = "\u02c6"
"""What a text's own signs become: the same look, another character."""


def visible(text: str) -> str:
    """Return the text with one kind of line end, less every character that shows nothing."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
    if lines.isascii():
        return _ASCII_CONTROLS.sub("", lines)
    hidden = [ord(character) for character in set(lines) if not _shows(character)]
    return lines.translate(dict.fromkeys(hidden)) if hidden else lines


def fenced(text: str, mark: str) -> str:
    """Return the text between `<ticket-MARK>` and `</ticket-MARK>`, less the mark wherever it occurs inside."""
    return f"<ticket-{mark}>\n{text.replace(mark, '')}\n</ticket-{mark}>"


def unfenced(text: str, mark: str) -> str:
    """Return the text less the fence itself, which a model may repeat in its answer."""
    return text.replace(f"<ticket-{mark}>", "").replace(f"</ticket-{mark}>", "")


def datamarked(text: str) -> str:
    """Return the text with the sign before each line and in the place of each space inside; its own signs change."""
    own = text.replace(SIGN, OWN_SIGN)
    return "\n".join(f"{SIGN}{SIGN.join(line.split())}" for line in own.split("\n"))


def unmarked(text: str) -> str:
    """Return what a model wrote with spaces in the place of signs that it copied."""
    return text.replace(SIGN, " ").replace(OWN_SIGN, SIGN) if SIGN in text or OWN_SIGN in text else text


def _shows(character: str) -> bool:
    if character in _KEPT:
        return True
    return character not in _VARIATION_SELECTORS and unicodedata.category(character) not in _INVISIBLE
