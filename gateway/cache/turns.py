"""The last thing that a user said, apart from the rest of a request: what a similar question may differ in. Pure.

Vectors of two texts can be close although a number, a name or a "not" tells them apart. So two texts are compared by
what no paraphrase changes as well: their numbers, names, quotations and words that turn a meaning round, in order.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.requests import operations

LONGEST_TEXT: Final = 2000
"""Characters; longer texts are hardly ever asked twice in other words, and comparing them takes its time."""

_WORD: Final = re.compile(
    r"(?P<quoted>\"[^\"]+\"|`[^`]+`|\u201c[^\u201d]+\u201d|\u00ab[^\u00bb]+\u00bb)"
    r"|(?P<word>[^\W_](?:[\w'.,:/@+*%$\u20ac\u00a3#-]*[\w%$\u20ac\u00a3+#])?)"
)
_PLAIN: Final = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")

_TURNING: Final = re.compile(
    r"no|not|never|none|nothing|nobody|neither|nor|without|cannot|\w+n't|except|unless|only|same|different|opposite"
    r"|nicht|keine?[nrsm]?|nie|ohne|non|pas|sans|jamais|sin|nunca"
    r"|before|after|since|until|first|last|next|previous|more|less|most|least|fewer|over|under|above|below|up|down|off"
    r"|max|maximum|min|minimum|best|worst|highest|lowest|increased?|decreased?|raised?|lower(?:ed)?|left|right|true|false"
    r"|enabled?|disabled?|start(?:ed)?|stop(?:ped)?|open(?:ed)?|closed?|add(?:ed)?|removed?|deleted?|created?"
    r"|allow(?:ed)?|den(?:y|ied)|import(?:ed)?|export(?:ed)?|upload(?:ed)?|download(?:ed)?|bought|buy|sold|sell"
)
"""Small words that turn a sentence round while its vector hardly moves."""

_OPENERS: Final = re.compile(
    r"an?|and|are|as|at|be|can|could|describe|did|do|does|explain|find|for|give|hello|help|hey|hi|how|i|i'm|if|in|is|it"
    r"|let|list|make|may|me|my|now|of|ok|okay|on|our|please|say|shall|should|show|so|summari[sz]e|tell|thanks|that|the"
    r"|their|then|there|these|this|those|to|translate|was|we|were|what|what's|when|where|which|who|who's|whose|why|will"
    r"|would|write|you|your"
)
"""Words that have a capital only because a sentence begins with them; any other is taken for a name."""


@dataclass(frozen=True, slots=True)
class Turn:
    """`text` is what the user said last, `context` the digest of all the rest, `tokens` that of what must agree."""

    text: str = field(repr=False)
    context: str
    tokens: str


def last_turn(operation: str, fields: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """Return the last user turn's text and the request without it; None where there is no such plain text."""
    name, part = {operations.CHAT: ("messages", "text"), operations.RESPONSES: ("input", "input_text")}.get(
        operation, ("", "")
    )
    said = fields.get(name)
    if isinstance(said, str):
        found: tuple[str, Any] | None = (said, None)
    elif isinstance(said, list) and said and isinstance(said[-1], dict) and said[-1].get("role") == "user":
        last = said[-1]
        found = _text(last.get("content"), part)
        found = found and (found[0], [*said[:-1], {**last, "content": found[1]}])
    else:
        return None
    if found is None or not found[0].strip() or len(found[0]) > LONGEST_TEXT:
        return None
    return found[0], {**fields, name: found[1]}


def _text(content: object, part: str) -> tuple[str, Any] | None:
    """Return a message's text, and its content with nothing in the text's place."""
    if isinstance(content, str):
        return content, None
    if isinstance(content, list) and len(content) == 1 and isinstance(content[0], dict):
        text = content[0].get("text")
        if content[0].get("type") == part and isinstance(text, str):
            return text, [{**content[0], "text": None}]
    return None


def telling_tokens(text: str) -> str:
    """Return the digest of the numbers, names, quotations and turning words of a text, in their order."""
    words = _WORD.finditer(text.replace("\u2019", "'"))
    told = [match[0].casefold() for match in words if match["quoted"] or _tells(match["word"])]
    return hashlib.sha256("\n".join(told).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _tells(word: str) -> bool:
    plain = word.casefold()
    if _TURNING.fullmatch(plain):
        return True
    if _OPENERS.fullmatch(plain):
        return False
    # Everything with a digit, a sign or a capital in it is a number, an identifier or a name.
    return not (word.islower() and _PLAIN.fullmatch(plain))
