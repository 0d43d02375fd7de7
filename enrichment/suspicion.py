"""Text in a ticket that speaks to a model rather than to people.

It is a list of known phrases, and as such no defence: the fence, closed schemas and the caller's choices are. It only
keeps what a ticket like that suggests from being applied with nobody looking. It may be wrong about an honest ticket,
which then costs somebody a click.
"""

import re
from typing import Final

_PHRASES: Final = (
    r"(?:ignore|disregard|forget|override)\s+(?:\w+\s+){0,3}(?:instructions?|rules|prompts?|guidelines)",
    r"(?:ignoriere|vergiss|missachte)\s+(?:\w+\s+){0,3}(?:anweisung\w*|instruktion\w*|regeln|vorgaben)",
    r"(?:ignore[zr]?|oublie[zr]?)\s+(?:\w+\s+){0,3}(?:instructions|consignes|r\u00e8gles)",
    r"(?:ignora|ignore|olvida|olvide)\s+(?:\w+\s+){0,3}(?:instrucciones|reglas|instru\u00e7\u00f5es|istruzioni)",
    r"(?:reveal|print|show|repeat)\s+(?:\w+\s+){0,3}(?:system\s+prompt|your\s+instructions|your\s+prompt)",
    r"you\s+are\s+(?:now\s+)?(?:an?\s+)?(?:ai\b|assistant|language\s+model|chatbot|in\s+developer\s+mode)",
    r"(?:^|\n)\s*(?:#+\s*)?(?:system|assistant|developer)\s*(?:prompt|message)?\s*:",
    r"<\|\w{2,20}\|>|\[/?inst\]|</ticket",
    r"with\s+(?:a\s+)?confidence\s+(?:of\s+)?(?:1(?:\.0+)?|100)\b",
)
_SPOKEN_TO_A_MODEL: Final = re.compile("|".join(_PHRASES), re.IGNORECASE)


def speaks_to_a_model(text: str) -> bool:
    """Tell whether a text holds a phrase by which people try to direct a model."""
    return _SPOKEN_TO_A_MODEL.search(text) is not None
