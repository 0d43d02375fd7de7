"""Drafts of knowledge articles."""

import httpx2

from tests.enrichment.fake_gateway import FakeGateway
from tests.enrichment.printer import enriched


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
