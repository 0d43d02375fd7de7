"""When a suggestion goes into the patch: sure enough, and in the place of a value that may be replaced."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from enrichment.requests.requests import Rule, SuggestedField
from enrichment.suggestions.priorities import PriorityMatrix
from enrichment.tickets.ticket import Coded

ANY: Final = "*"

_FILLED_IN: Final[Mapping[SuggestedField, frozenset[str]]] = {
    "category": frozenset({"", "inquiry", "inquiry / help"}),
    "impact": frozenset({"", "3", "3 - low"}),
    "urgency": frozenset({"", "3", "3 - low"}),
}
"""Nobody chose these: ServiceNow fills them into a new incident. Other fields are replaced where they are empty."""


@dataclass(frozen=True, slots=True)
class TriageRules:
    """The operator's: what a request does not say itself."""

    apply_at: float = 0.8
    matrix: PriorityMatrix = field(default_factory=PriorityMatrix)

    def applies(
        self, name: SuggestedField, present: Coded, suggested: Coded, confidence: float, rule: Rule | None
    ) -> bool:
        """Tell whether a suggestion goes into the patch; one that changes nothing does not."""
        threshold = self.apply_at if rule is None or rule.threshold is None else rule.threshold
        if confidence < threshold or _same(present, suggested):
            return False
        if rule is None or rule.overwrite is None:
            replaceable = _FILLED_IN.get(name, frozenset({""}))
        else:
            replaceable = frozenset(value.strip().lower() for value in rule.overwrite)
        return ANY in replaceable or present.is_any_of(replaceable)


def _same(present: Coded, suggested: Coded) -> bool:
    ours = {suggested.display_value.casefold(), suggested.value.casefold()} - {""}
    return bool(ours & {present.display_value.casefold(), present.value.casefold()})
