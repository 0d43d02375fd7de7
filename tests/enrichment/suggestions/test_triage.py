"""When a suggestion goes into the patch."""

import pytest

from enrichment.requests.requests import Rule, SuggestedField
from enrichment.suggestions.triage import TriageRules
from enrichment.tickets.ticket import Coded

NETWORK = Coded("Network", "network")


@pytest.mark.parametrize(
    ("field", "present", "applies"),
    [
        ("category", Coded(), True),
        ("category", Coded("Inquiry / Help", "inquiry"), True),
        ("category", Coded("", "inquiry"), True),
        ("category", Coded("Software", "software"), False),
        ("category", Coded("network"), False),
        ("impact", Coded("3 - Low"), True),
        ("impact", Coded("", "3"), True),
        ("impact", Coded("2 - Medium", "2"), False),
        ("assignment_group", Coded(), True),
        ("assignment_group", Coded("Service Desk"), False),
    ],
)
def test_without_a_rule_only_what_nobody_chose_is_replaced(
    field: SuggestedField, present: Coded, applies: bool
) -> None:
    """Empty fields and ServiceNow's own defaults give way; a person's choice stays."""
    assert TriageRules().applies(field, present, NETWORK, 0.9, None) is applies


def test_a_suggestion_that_is_not_sure_enough_stays_out() -> None:
    """The operator's threshold counts, and a rule's own before it."""
    rules = TriageRules(apply_at=0.7)
    assert rules.applies("category", Coded(), NETWORK, 0.7, None)
    assert not rules.applies("category", Coded(), NETWORK, 0.69, None)
    assert not rules.applies("category", Coded(), NETWORK, 0.75, Rule(field="category", threshold=0.8))
    assert rules.applies("category", Coded(), NETWORK, 0.0, Rule(field="category", threshold=0))


@pytest.mark.parametrize(
    ("overwrite", "present", "applies"),
    [
        (("*",), "Software", True),
        (("software",), "Software", True),
        (("software",), "", False),
        (("", "software"), "", True),
        ((), "", False),
    ],
)
def test_a_rule_says_what_may_be_replaced(overwrite: tuple[str, ...], present: str, applies: bool) -> None:
    """Named values, an empty one, or any; an empty list protects the field."""
    rule = Rule(field="category", overwrite=overwrite)
    assert TriageRules().applies("category", Coded(present), NETWORK, 0.9, rule) is applies
