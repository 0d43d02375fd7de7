"""From suggestions to the body of a PATCH."""

from collections.abc import Iterable
from typing import Final

from enrichment.answers.answers import Patch
from enrichment.answers.findings import Findings, Suggestions
from enrichment.requests.requests import AllowedChoices, EnrichRequest
from enrichment.suggestions.priorities import level_of
from enrichment.tickets.ticket import Coded

_LEVELLED: Final = ("impact", "urgency")


def merged(found: Iterable[Findings]) -> Findings:
    """Return the findings of several tasks as one; of two for the same thing the later one counts."""
    sections: dict[str, object] = {}
    suggestions: dict[str, object] = {}
    for findings in found:
        suggestions |= {name: value for name, value in findings.suggestions if value is not None}
        sections |= {
            name: getattr(findings, name)
            for name in Findings.model_fields
            if name != "suggestions" and getattr(findings, name) is not None
        }
    return Findings.model_validate(sections | {"suggestions": Suggestions.model_validate(suggestions)})


def patch_of(suggestions: Suggestions, request: EnrichRequest) -> Patch:
    """Return the values that apply, as the table holds them."""
    applied = {name: each.value for name, each in suggestions if each is not None and each.apply}
    held = {name: _held(name, value, request.choices) for name, value in applied.items() if name != "priority"}
    return Patch.model_validate(held)


def _held(field: str, shown: str, choices: AllowedChoices) -> str:
    if field in _LEVELLED:
        return str(level_of(Coded(shown)))
    for choice in getattr(choices, field, ()):
        if choice.display_value == shown:
            return choice.value or shown
    return shown
