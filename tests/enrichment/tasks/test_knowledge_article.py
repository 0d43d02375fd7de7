"""Drafts of knowledge articles."""

import httpx2
import pytest

from tests.enrichment.fake_gateway import FakeGateway
from tests.enrichment.printer import TICKET, enriched


async def test_a_draft(gateway: FakeGateway, caller: httpx2.AsyncClient) -> None:
    """Parts are made of grounded sentences alone, keywords come once, and a missing resolution is told."""
    gateway.answers = {
        "knowledge_article": {
            "symptoms": [{"entries": ["description"], "sentence": "Smoke rises."}],
            "cause": [{"entries": [], "sentence": "Probably dragons."}],
            "resolution": [],
            "title": " Printer  on fire ",
            "keywords": ["printer", "fire", "printer", " "],
        }
    }
    told = await enriched(caller, tasks=["knowledge_article"])
    assert told["knowledge_article"] == {
        "title": "Printer on fire", "symptoms": "Smoke rises.", "cause": "", "resolution": "",
        "keywords": ["printer", "fire"],
        "citations": [{"sentence": "Smoke rises.", "entries": ["description"]}],
    }  # fmt: skip
    assert {flaw["code"] for flaw in told["tasks"][0]["warnings"]} == {"sentence_not_grounded", "nothing_said"}


@pytest.mark.parametrize(
    ("symptom", "told_of"),
    [("[USER-1] sees smoke.", True), ("Mails to [EMAIL-1] fail.", True), ("Smoke rises; error 0x80070005.", False)],
)
async def test_an_article_that_names_people(
    gateway: FakeGateway, caller: httpx2.AsyncClient, symptom: str, *, told_of: bool
) -> None:
    """What is hidden from models is flagged in a text that is meant for everybody."""
    said = [{"entries": ["description"], "sentence": symptom}]
    gateway.answers = {
        "knowledge_article": {"symptoms": said, "cause": [], "resolution": said, "title": "Smoke", "keywords": []}
    }
    ticket = TICKET | {"description": "Smoke at joe@example.com", "caller_id": "Joe Employee"}
    [task] = (await enriched(caller, tasks=["knowledge_article"], ticket=ticket))["tasks"]
    assert [flaw["code"] for flaw in task.get("warnings", [])] == ["personal_data"] * told_of
