"""Tickets in the forms in which the Table API gives them."""

from typing import Any

import pytest
from pydantic import ValidationError

from enrichment.requests.requests import Question
from enrichment.tickets.ticket import MAX_CODE, MAX_TEXT, Coded, Ticket


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        ("plain", "plain"),
        (None, ""),
        ({"display_value": "shown", "value": "kept"}, "shown"),
        ({"value": "kept", "link": "x"}, "kept"),
        ("<p>one<br/>two &amp; three</p>", "one\ntwo & three"),
        ("x < 5 and <server> at &lt;noon&gt;", "x < 5 and <server> at <noon>"),
        ("zero\u200bwidth \u202eright", "zerowidth right"),
    ],
)
def test_forms_of_a_text(sent: Any, text: str) -> None:
    """A string, null, a display value and a reference are read as text without markup and invisible characters."""
    assert Ticket.model_validate({"short_description": "x", "description": sent}).description == text


@pytest.mark.parametrize(
    ("sent", "coded"),
    [
        ("1 - High", Coded("1 - High")),
        (None, Coded()),
        (
            {"display_value": "Network", "value": "8a5055c9", "link": "https://example.invalid"},
            Coded("Network", "8a5055c9"),
        ),
        ({"display_value": "Network", "link": "https://example.invalid"}, Coded("Network")),
        ({"value": "8a5055c9"}, Coded("", "8a5055c9")),
    ],
)
def test_forms_of_a_choice(sent: Any, coded: Coded) -> None:
    """What people see and what the table holds are kept apart where both came."""
    assert Ticket.model_validate({"short_description": "x", "assignment_group": sent}).assignment_group == coded


def test_other_fields_are_left_aside() -> None:
    """A whole row of the table can be sent."""
    ticket = Ticket.model_validate(
        {"description": "x", "u_own": {"link": "y"}, "active": True, "reassignment_count": 3}
    )
    assert ticket == Ticket(description="x")


def test_a_ticket_survives_being_kept() -> None:
    """Written as JSON and read again it is the same ticket, references and journals included."""
    ticket = Ticket.model_validate(
        {
            "short_description": "x",
            "cmdb_ci": {"display_value": "srv-1", "value": "0123"},
            "comments": "2023-10-02 16:13:23 - Beth (Additional comments)\nsent on\n\n",
            "work_notes": [{"element": "work_notes", "value": "one", "sys_created_on": "2023-10-02 16:13:23"}],
        }
    )
    assert Ticket.model_validate_json(ticket.model_dump_json()) == ticket


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"short_description": " \n", "description": None},
        {"short_description": "\u200b\u2060"},
        {"work_notes": "notes alone"},
        {"description": 5},
        {"description": "x", "comments": [["nested"]]},
        {"description": "x", "comments": {"display_value": 5}},
        {"description": "x", "comments": 7},
        {"description": "x", "impact": 3},
        {"description": "x", "category": "c" * (MAX_CODE + 1)},
        {"description": "<p> </p>\x00\x07"},
        {"description": "x" * (MAX_TEXT + 1)},
        {"description": "\ud800"},
    ],
)
def test_a_ticket_that_says_nothing_or_too_much_is_refused(body: dict[str, Any]) -> None:
    """A ticket needs visible text in its title or description, in bounds and in a known form."""
    with pytest.raises(ValidationError):
        Ticket.model_validate(body)


@pytest.mark.parametrize("text", ["", " \n\t", "x" * (MAX_TEXT + 1), "\ud800", None, 5])
def test_a_question_needs_text(text: Any) -> None:
    """Blank, overlong, unencodable or other input is refused."""
    with pytest.raises(ValidationError):
        Question.model_validate({"input": text})
