"""Drafts of replies."""

import httpx2
import pytest

from tests.enrichment.fake_gateway import FakeGateway
from tests.enrichment.printer import TICKET, enriched


@pytest.mark.parametrize(("asked", "language"), [({}, "en"), ({"output_language": "pt-BR"}, "pt-BR")])
async def test_a_reply_in_its_language(
    gateway: FakeGateway, caller: httpx2.AsyncClient, asked: dict[str, str], language: str
) -> None:
    """It is in the ticket's language or the one that was asked for, which the instructions name."""
    gateway.answers = {"reply": {"entries": ["comments-1"], "text": "Dear Joe,\nplease leave the room."}}
    told = await enriched(caller, tasks=["reply"], **asked)
    assert told["reply"] == {
        "text": "Dear Joe,\nplease leave the room.", "language": language, "entries": ["comments-1"]
    }  # fmt: skip
    assert f"({language})" in gateway.asked_of("reply")[0]["messages"][0]["content"]


async def test_a_reply_without_words_is_none(gateway: FakeGateway, caller: httpx2.AsyncClient) -> None:
    """An empty text does not keep to what was asked."""
    gateway.answers = {"reply": {"entries": ["nothing-1"], "text": " "}}
    told = await enriched(caller, tasks=["reply"])
    assert told["tasks"][0]["error"]["code"] == "wrong_schema"


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("Dear Joe, we cut the power.", []),
        ("Dear Joe, Beth says: pulled the plug.", ["internal_note_quoted"]),
        ("We saw that the vendor, has known of this, for years.", ["internal_note_quoted"]),
        ("The vendor has known it.", []),
        ("We know that smoke since nine o'clock is a fault.", []),
    ],
)
async def test_words_of_internal_notes(
    gateway: FakeGateway, caller: httpx2.AsyncClient, text: str, codes: list[str]
) -> None:
    """A reply that repeats what only colleagues may read is flagged; what the caller wrote himself is not internal."""
    notes = [
        {"element": "work_notes", "value": "Pulled the plug."},
        {"element": "work_notes", "value": "Tell nobody that the vendor has known of this for years."},
        {"element": "work_notes", "value": "Caller says: smoke since nine o'clock"},
    ]
    gateway.answers = {"reply": {"entries": ["description"], "text": text}}
    [task] = (await enriched(caller, tasks=["reply"], ticket=TICKET | {"work_notes": notes}))["tasks"]
    assert [flaw["code"] for flaw in task.get("warnings", [])] == codes
