"""Things that the ticket names."""

import httpx2

from tests.enrichment.fake_gateway import FakeGateway
from tests.enrichment.printer import enriched


async def test_only_what_the_ticket_names_stays(gateway: FakeGateway, caller: httpx2.AsyncClient) -> None:
    """A thing is found where it stands, also under a wrong entry; one that is nowhere goes; each comes once."""
    gateway.answers = {
        "entities": {
            "entities": [
                {"entry": "description", "kind": "error", "value": "PC-LOAD"},
                {"entry": "work_notes-9", "kind": "error", "value": "pc load"},
                {"entry": "work_notes-9", "kind": "device", "value": "Printer"},
                {"entry": "description", "kind": "person", "value": "Elvis"},
                {"entry": "description", "kind": "other", "value": " "},
            ]
        }
    }
    told = await enriched(caller, tasks=["entities"])
    assert told["entities"] == [
        {"kind": "error", "value": "PC-LOAD", "entry": "description"},
        {"kind": "error", "value": "pc load", "entry": "description"},
        {"kind": "device", "value": "Printer", "entry": "short_description"},
    ]
    assert [flaw["code"] for flaw in told["tasks"][0]["warnings"]] == ["not_in_ticket"]


async def test_a_kind_that_is_none_is_a_wrong_schema(gateway: FakeGateway, caller: httpx2.AsyncClient) -> None:
    """Kinds are a closed list."""
    gateway.answers = {"entities": {"entities": [{"entry": "description", "kind": "ghost", "value": "Smoke"}]}}
    told = await enriched(caller, tasks=["entities"])
    assert told["tasks"][0]["error"]["code"] == "wrong_schema"


async def test_nothing_to_name(gateway: FakeGateway, caller: httpx2.AsyncClient) -> None:
    """An empty list is a result."""
    gateway.answers = {"entities": {"entities": []}}
    told = await enriched(caller, tasks=["entities"])
    assert told["entities"] == []
    assert told["tasks"][0]["status"] == "succeeded"
