"""Text that is data: cleaned of what nobody can see, and fenced off so that a model can tell it from its instructions.

Invisible characters (zero-width, bidirectional, tags, variation selectors, controls) can carry instructions that no
human reviewer sees, and lone surrogates cannot be encoded at all. The fence's mark is drawn anew for each request, so
that no text can close a fence that it has not seen.
"""

import unicodedata
from typing import Final

_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cn", "Co", "Cs"})
_KEPT: Final = frozenset("\n\t")
_VARIATION_SELECTORS: Final = frozenset(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))


def visible(text: str) -> str:
    """Return the text with one kind of line end, less every character that shows nothing."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    hidden = [ord(character) for character in set(lines) if not _shows(character)]
    return lines.translate(dict.fromkeys(hidden)) if hidden else lines


def fenced(text: str, mark: str) -> str:
    """Return the text between `<ticket-MARK>` and `</ticket-MARK>`, less the mark wherever it occurs inside."""
    return f"<ticket-{mark}>\n{text.replace(mark, '')}\n</ticket-{mark}>"


def unfenced(text: str, mark: str) -> str:
    """Return the text less the fence itself, which a model may repeat in its answer."""
    return text.replace(f"<ticket-{mark}>", "").replace(f"</ticket-{mark}>", "")


def _shows(character: str) -> bool:
    if character in _KEPT:
        return True
    return character not in _VARIATION_SELECTORS and unicodedata.category(character) not in _INVISIBLE
