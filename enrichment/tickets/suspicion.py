"""Text in a ticket that speaks to a model rather than to people.

It is a list of known phrases, and as such no defence: the fence, closed schemas and the caller's choices are. It only
keeps what a ticket like that suggests from being applied with nobody looking. It may be wrong about an honest ticket,
which then costs somebody a click.
"""

import re
from typing import Final

_FEW_WORDS: Final = r"\s+(?:\w+\s+){0,3}"
_PHRASES: Final = (
    (
        ("instruction", "rules", "prompt", "guidelines", "consignes", "r\u00e8gles"),
        (
            rf"(?:ignore[zr]?|disregard|forget|override|oublie[zr]?){_FEW_WORDS}"
            r"(?:instructions?|rules|prompts?|guidelines|consignes|r\u00e8gles)"
        ),
    ),
    (
        ("anweisung", "instruktion", "regeln", "vorgaben"),
        rf"(?:ignoriere|vergiss|missachte){_FEW_WORDS}(?:anweisung\w*|instruktion\w*|regeln|vorgaben)",
    ),
    (
        ("instrucciones", "reglas", "instru\u00e7\u00f5es", "istruzioni"),
        rf"(?:ignor[ae]|olvid[ae]){_FEW_WORDS}(?:instrucciones|reglas|instru\u00e7\u00f5es|istruzioni)",
    ),
    (
        ("system prompt", "your instructions", "your prompt"),
        rf"(?:reveal|print|show|repeat){_FEW_WORDS}?(?:system prompt|your instructions|your prompt)",
    ),
    (
        ("you are",),
        r"you are\s+(?:now\s+)?(?:an?\s+)?(?:ai\b|assistant|language\s+model|chatbot|in\s+developer\s+mode)",
    ),
    (
        ("assistant", "prompt", "system message"),
        r"(?:^|\n)[ \t]*(?:#+[ \t]*)?(?:assistant|(?:system|developer)[ \t]*(?:prompt|message))[ \t]*:",
    ),
    (
        # Alone it is how people write which system they have.
        ("system", "developer"),
        (
            r"(?:^|\n)[ \t]*(?:#+[ \t]*)?(?:system|developer)[ \t]*:[^\n]{0,200}?\b"
            r"(?:you|your|ignore|assign|respond|instructions?|set (?:the|impact|urgency|category)|ticket above)\b"
        ),
    ),
    (("above",), r"(?:ignore|disregard|forget)\s+(?:(?:all|everything|anything|text|of|the)\s+){1,4}above\b"),
    (
        (" ai", "llm", "chatbot", "language model"),
        (
            r"\b(?:dear|attention|hey|hello|note\s+(?:to|for)(?:\s+(?:the|any))?|as\s+an?|if\s+you\s+are\s+an?)\s+"
            r"(?:ai|llm|chatbot|(?:large\s+)?language\s+model)\b"
        ),
    ),
    (
        ("summari", "classify", "triag"),
        r"\b(?:when|while)\s+(?:you\s+)?(?:summari[sz]|classify|triag)\w*\s+(?:this|the)\s+(?:ticket|incident|text)\b",
    ),
    (("new instruction", "new system instruction"), r"\bnew\s+(?:system\s+)?instructions?\s*:"),
    (("only with",), r"\b(?:respond|answer|output)\s+only\s+with\b"),
    (("<|", "[inst]", "</ticket"), r"<\|\w{2,20}\|>|\[/?inst\]|</ticket"),
    (("confidence",), r"\bconfidence\s*(?:to|of|is|=|:)?\s*(?:1(?:\.0+)?|100)\b"),
)
"""Words of which one must be there, quick to look for, and the pattern in lower case."""

_COMPILED: Final = tuple((words, re.compile(pattern)) for words, pattern in _PHRASES)


def speaks_to_a_model(text: str) -> bool:
    """Tell whether a text holds a phrase by which people try to direct a model."""
    lowered = text.lower()
    return any(
        pattern.search(lowered) is not None for words, pattern in _COMPILED if any(word in lowered for word in words)
    )
