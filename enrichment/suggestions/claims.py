"""Evidence that asks for a value in place of proving it: *set the impact to 1 - High*.

A model that follows an instruction in a ticket quotes that instruction, since nothing else there supports the value. So
words that name both the field and the value are shown as evidence, and nothing is applied on them. An honest wish of
that form, such as a colleague's *assign it to Network*, then costs somebody a click.
"""

import re
from collections.abc import Mapping
from typing import Final

from enrichment.requests.requests import SuggestedField
from enrichment.suggestions.grounding import searchable
from enrichment.tickets.ticket import Coded

_PRIORITY: Final = ("priorit", "priorid")
_CATEGORY: Final = ("categor", "kategor", "cat\u00e9gor")
_NAMES: Final[Mapping[SuggestedField, tuple[str, ...]]] = {
    "impact": ("impact", "impatto", "auswirkung", *_PRIORITY),
    "urgency": ("urgen", "urg\u00ean", "dringlich", *_PRIORITY),
    "category": (*_CATEGORY, "classif"),
    "subcategory": (*_CATEGORY, "classif"),
    "assignment_group": ("assign", "zuweis", "affect", "asign", "atribu", "asseg"),
    "close_code": ("close", "closure", "abschluss", "cl\u00f4tur", "cierre", "chiusura"),
}
"""Beginnings of the words by which people call a field, in English, German, French, Spanish, Portuguese and Italian."""

_LEVELLED: Final = ("impact", "urgency")
_LEVEL: Final = re.compile(
    r" (?:[1-3]|high\w*|medium|low\w*|critical|hoch|mittel|niedrig|haute?|moyen\w*|basse?|\u00e9lev\w+|critique|alt[oa]"
    r"|medi[oa]|m\u00e9di[oa]|baj[oa]|baix[oa]|bass[oa]|cr\u00edtic[oa]|kritisch) "
)


def claims(evidence: str, name: SuggestedField, value: Coded) -> bool:
    """Tell whether a quotation names the field and a value for it, the suggested one; of a level, any."""
    words = searchable(evidence)
    if not any(f" {beginning}" in words for beginning in _NAMES.get(name, ())):
        return False
    if name in _LEVELLED:
        return _LEVEL.search(words) is not None
    return searchable(value.shown) in words
