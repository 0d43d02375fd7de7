"""Request bodies in the forms in which the Table API gives them."""

from typing import Any

import pytest
from pydantic import ValidationError

from enrichment.models import MAX_TEXT, Question, Ticket


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        ("plain", "plain"),
        (None, ""),
        ({"display_value": "shown", "value": "kept"}, "shown"),
        ({"value": "kept", "link": "x"}, "kept"),
        ([{"element": "comments", "value": "one"}, {"value": "two"}, "three", None], "one\n\ntwo\n\nthree\n\n"),
    ],
)
def test_forms_of_a_field(sent: Any, text: str) -> None:
    """A string, null, a display value, a reference and journal entries are all read as text."""
    assert Ticket.model_validate({"short_description": "x", "comments": sent}).comments == text


def test_other_fields_are_left_aside() -> None:
    """A whole row of the table can be sent."""
    ticket = Ticket.model_validate({"description": "x", "number": "INC1", "caller_id": {"link": "y"}, "impact": 3})
    assert ticket.model_dump() == {"short_description": "", "description": "x", "work_notes": "", "comments": ""}


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
