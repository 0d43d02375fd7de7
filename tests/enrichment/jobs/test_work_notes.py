"""The text of a work note."""

import json
import re
from typing import Any

import pytest

from enrichment.jobs.outbound import Answer
from enrichment.jobs.work_notes import LONGEST_NOTE, holds, note, patch_request


def test_all_of_a_result() -> None:
    """Summary, suggestions and next steps each have their line, and the last line names the job."""
    result = {
        "summary": {"issue": "VPN drops.", "actions_taken": "", "resolution": "New client.", "citations": []},
        "suggestions": {
            "assignment_group": {"value": "Network", "band": "Medium", "confidence": 0.6},
            "category": {"value": ""},
        },
        "next_steps": [{"step": "Update the client.", "reason": "It is old.", "entries": []}],
    }
    assert note("j1", result).splitlines() == [
        "Issue: VPN drops.",
        "Resolution: New client.",
        "Suggested assignment group: Network (Medium confidence)",
        "Next steps:",
        "- Update the client.",
        "",
        "Tollgate job j1",
    ]


@pytest.mark.parametrize("result", [{}, {"summary": None, "suggestions": [], "next_steps": {}}, {"summary": 7}])
def test_nothing_to_say(result: dict[str, Any]) -> None:
    """A result without anything for people says so."""
    assert note("j1", result) == "Enriched, without a suggestion.\n\nTollgate job j1"


@pytest.mark.parametrize("said", ["[code]<b>x</b>[/code]", "[CODE ]<script>", "[ / code]"])
def test_no_html(said: str) -> None:
    """Nothing that a model says is shown as HTML in a journal."""
    text = note("j1", {"summary": {"issue": said}})
    assert not re.search(r"\[\s*/?\s*code\s*\]", text, re.IGNORECASE)


def test_a_ticket_that_speaks_to_a_model() -> None:
    """Whoever reads the note is told that the ticket tried to direct the model."""
    told = {"name": "classification", "warnings": [{"code": "speaks_to_a_model", "message": "..."}]}
    suggestions = {"category": {"value": "Security"}}
    assert note("j1", {"suggestions": suggestions, "tasks": [{"name": "summary"}, told]}).splitlines()[:2] == [
        "Suggested category: Security",
        "Careful: text in this ticket speaks to a model. Nothing of this was applied.",
    ]


@pytest.mark.parametrize(("group", "written"), [("Network", False), ("8a5055c9c61122780043563ef53438e3", True)])
def test_a_group_is_written_by_its_sys_id(group: str, *, written: bool) -> None:
    """A group's name is no reference: it is suggested in the note and left out of the fields."""
    result = {"patch": {"assignment_group": group, "impact": "2"}}
    request = patch_request("/x", {}, "j1", result, apply_patch=True)
    expected = {"assignment_group", "impact", "work_notes"} if written else {"impact", "work_notes"}
    assert json.loads(request.body).keys() == expected


def test_long_notes_are_cut() -> None:
    """A long note keeps its mark."""
    text = note("j1", {"summary": "x" * 100_000})
    assert len(text) < LONGEST_NOTE + 100
    assert text.endswith("\n\nTollgate job j1")


@pytest.mark.parametrize(
    ("status", "body", "held"),
    [
        (200, b'{"result": {"work_notes": "... (Work notes)\\nIssue.\\n\\nTollgate job j1\\n\\n"}}', True),
        (200, b'{"result": {"work_notes": "... (Work notes)\\nTollgate job j1\\n\\n' + b"x" * 1000, True),
        (200, b'{"result": {"work_notes": "... (Work notes)\\nTollgate job j12\\n\\n"}}', False),
        (200, b'{"result": {"work_notes": ""}}', False),
        (200, b"<html>", False),
        (404, b"Tollgate job j1", False),
    ],
)
def test_a_note_is_found_again(status: int, body: bytes, held: bool) -> None:
    """A note is found by its last line, in a journal that is cut off as well, and not by another job's."""
    assert holds(Answer(status, {}, body), "j1") is held
