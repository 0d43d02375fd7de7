"""The sample tickets that ship with the demo are what they are said to be."""

import json
from pathlib import Path
from typing import Any

import pytest

from enrichment.calls.fence import visible
from enrichment.privacy.placeholders import Placeholders
from enrichment.requests.requests import EnrichRequest

TICKETS = Path(__file__).parents[2] / "local" / "demo" / "tickets"
LABELLED = Path(__file__).parents[2] / "evaluation" / "incidents.json"
FILES = sorted(TICKETS.glob("*.json"))


def sample(name: str) -> EnrichRequest:
    return EnrichRequest.model_validate_json((TICKETS / f"{name}.json").read_bytes())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_sample_is_a_request(file: Path) -> None:
    """Every file can be posted to /enrich as it is, and holds a ticket with a number, tasks and choices."""
    request = EnrichRequest.model_validate_json(file.read_bytes())
    assert request.ticket.number.startswith("INC00410")
    assert request.choices.category
    assert "summary" in request.tasks


@pytest.mark.parametrize(
    ("name", "author"),
    [("vpn-drops", "Marek Nowak"), ("drucker-etage-3", "Jonas Weber"), ("messagerie-bloquee", "Chloé Bernard")],
)
def test_journals_of_three_locales(name: str, author: str) -> None:
    """Notes in English, German and French form are two entries each, the older first, with blank lines inside."""
    notes = sample(name).ticket.work_notes
    assert [entry.sys_created_by for entry in notes] == [author, author]
    assert notes[0].sys_created_on < notes[1].sys_created_on


def test_three_hundred_entries() -> None:
    """The longest ticket has 300 entries in two journals."""
    assert len(sample("three-hundred-entries").ticket.journal()) == 300


def test_html_is_gone() -> None:
    """What came as HTML is read as text, without its scripts and styles."""
    ticket = sample("html-from-mail").ticket
    text = f"{ticket.short_description} {ticket.description} {ticket.work_notes[0].value}"
    assert "<" not in text
    assert "track(" not in text
    assert "Order import stops & nobody is told" in text
    assert ticket.impact.value == "1"


def test_the_injection_hides_characters() -> None:
    """The attempt carries characters that nobody sees, and they are gone from what is read."""
    raw = json.loads((TICKETS / "injection-attempt.json").read_text())["ticket"]["description"]
    assert visible(raw) != raw
    read = sample("injection-attempt").ticket.description
    assert visible(read) == read


def test_personal_data_is_all_found() -> None:
    """Nothing personal of the sample is left after hiding: addresses, numbers, machines and names."""
    ticket = sample("personal-data").ticket
    placeholders = Placeholders([ticket.caller_id.shown, *(entry.sys_created_by for entry in ticket.journal())])
    hidden = placeholders.hide("\n".join([ticket.description, *(entry.value for entry in ticket.journal())]))
    for value in ("diallo", "@", "5550", "4111", "0532", "10.24", "refunds.shop", "fs-finance", "LAPTOP"):
        assert value not in hidden.lower(), value
    assert "4.12.0.7" in hidden


def test_labels_are_choices() -> None:
    """Each of the labelled tickets has a number of its own and labels that are among the choices."""
    labelled: dict[str, Any] = json.loads(LABELLED.read_text())
    incidents = labelled["incidents"]
    assert len({each["number"] for each in incidents}) == len(incidents) >= 40
    for incident in incidents:
        for field, choices in labelled["choices"].items():
            assert incident[field] in choices, incident["number"]
        assert incident["impact"][:1] + incident["urgency"][:1] in {a + b for a in "123" for b in "123"}
