"""Notes for closing a ticket."""

from typing import Any

import httpx2

from tests.enrichment.fake_gateway import FakeGateway
from tests.enrichment.printer import TICKET, enriched

SOLVED = {"entries": ["work_notes-1"], "sentence": "The plug was pulled."}


def notes(*sentences: dict[str, Any], confidence: float = 0.9) -> dict[str, Any]:
    return {"resolution": list(sentences), "confidence": confidence}


async def test_notes_are_suggested_for_the_field(gateway: FakeGateway, caller: httpx2.AsyncClient) -> None:
    """What solved it becomes a suggestion, with the entries as its evidence, and a part of the patch."""
    gateway.answers = {"resolution_notes": notes(SOLVED)}
    told = await enriched(caller, tasks=["resolution_notes"])
    assert told["resolution_notes"] == {
        "text": "The plug was pulled.",
        "citations": [{"sentence": "The plug was pulled.", "entries": ["work_notes-1"]}],
    }
    assert told["suggestions"]["close_notes"] == {
        "value": "The plug was pulled.", "confidence": 0.9, "band": "High", "evidence": "work_notes-1", "apply": True
    }  # fmt: skip
    assert told["patch"] == {"close_notes": "The plug was pulled."}


async def test_notes_that_somebody_wrote_stay(gateway: FakeGateway, caller: httpx2.AsyncClient) -> None:
    """Present close notes are not replaced without a rule."""
    gateway.answers = {"resolution_notes": notes(SOLVED)}
    told = await enriched(caller, tasks=["resolution_notes"], ticket=TICKET | {"close_notes": "Put out by hand."})
    assert told["patch"] == {}


async def test_a_dropped_sentence_casts_doubt(gateway: FakeGateway, caller: httpx2.AsyncClient) -> None:
    """Notes of which a part was made up are not sure enough to be applied."""
    gateway.answers = {"resolution_notes": notes(SOLVED, {"entries": [], "sentence": "A new printer was bought."})}
    told = await enriched(caller, tasks=["resolution_notes"])
    assert told["suggestions"]["close_notes"]["confidence"] == 0.54
    assert told["patch"] == {}


async def test_notes_that_rest_on_the_report_alone(gateway: FakeGateway, caller: httpx2.AsyncClient) -> None:
    """What the ticket began with is no solution: it is suggested and not applied."""
    gateway.answers = {"resolution_notes": notes({"entries": ["description"], "sentence": "It smoked."})}
    told = await enriched(caller, tasks=["resolution_notes"])
    assert told["suggestions"]["close_notes"]["value"] == "It smoked."
    assert told["patch"] == {}


async def test_a_confidence_in_percent_applies_nothing(gateway: FakeGateway, caller: httpx2.AsyncClient) -> None:
    """Five of a hundred is not taken for certain."""
    gateway.answers = {"resolution_notes": notes(SOLVED, confidence=5)}
    told = await enriched(caller, tasks=["resolution_notes"])
    assert told["patch"] == {}
    assert [flaw["code"] for flaw in told["tasks"][0]["warnings"]] == ["confidence_clamped"]


async def test_an_open_ticket_has_none(gateway: FakeGateway, caller: httpx2.AsyncClient) -> None:
    """Where nothing says that it was solved, there is no suggestion, and the answer says so."""
    gateway.answers = {"resolution_notes": notes()}
    told = await enriched(caller, tasks=["resolution_notes"])
    assert told["suggestions"] == {}
    assert [flaw["code"] for flaw in told["tasks"][0]["warnings"]] == ["nothing_said"]
