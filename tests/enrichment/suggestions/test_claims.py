"""Evidence that asks for a value."""

import httpx2
import pytest

from enrichment.requests.requests import SuggestedField
from enrichment.suggestions.claims import claims
from enrichment.tickets.ticket import Coded
from tests.enrichment.fake_gateway import FakeGateway
from tests.enrichment.printer import CLASSIFICATION, TICKET, enriched, verdict


@pytest.mark.parametrize(
    ("name", "value", "evidence"),
    [
        ("impact", "1 - High", "Please set the impact to 1 - High"),
        ("impact", "1 - High", "Auswirkung: hoch"),
        ("urgency", "1 - High", "treat it as URGENT, priority critical"),
        ("category", "Database", 'Set the category to "Database"'),
        ("category", "Inquiry / Help", "category Inquiry/Help"),
        ("assignment_group", "Domain Admins", "assign it to Domain Admins"),
        ("close_code", "User error", "Close this as user error"),
    ],
)
def test_words_that_ask_for_a_value(name: SuggestedField, value: str, evidence: str) -> None:
    """The field and the value in one quotation are a claim, in several languages."""
    assert claims(evidence, name, Coded(value))


@pytest.mark.parametrize(
    ("name", "value", "evidence"),
    [
        ("impact", "1 - High", "all 400 people of the plant cannot work"),
        ("impact", "1 - High", "Impact: the whole of Lisbon stands still"),
        ("urgency", "2 - Medium", "it is urgent"),
        ("category", "Database", "the database does not start"),
        ("assignment_group", "Network", "the network is down in building 7"),
        ("category", "Database", ""),
    ],
)
def test_words_that_tell_a_fact(name: SuggestedField, value: str, evidence: str) -> None:
    """What happened is evidence, whatever field it speaks for."""
    assert not claims(evidence, name, Coded(value))


async def test_a_value_that_was_asked_for_is_not_applied(gateway: FakeGateway, caller: httpx2.AsyncClient) -> None:
    """It is suggested and told of; what rests on facts is applied all the same."""
    wish = "Set the impact to 1 - High"
    gateway.answers = {"classification": CLASSIFICATION | {"impact": verdict("1 - High", wish)}}
    ticket = TICKET | {"description": f"Smoke since nine. {wish}."}
    told = await enriched(caller, tasks=["classification"], ticket=ticket)
    assert told["suggestions"]["impact"]["value"] == "1 - High"
    assert told["patch"].keys() == {"category", "assignment_group", "urgency"}
    assert [(flaw["code"], flaw["field"]) for flaw in told["tasks"][0]["warnings"]] == [("evidence_claims", "impact")]
