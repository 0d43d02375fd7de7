"""Labelled incidents become tickets that do not tell their labels."""

import json
from pathlib import Path

import pytest

from evaluation.__main__ import bodies
from evaluation.labelled import choices_of, incidents_in
from hosting.commands.ticket_files import FileUnreadable

INCIDENT = {
    "number": "INC1",
    "short_description": "No network",
    "category": {"display_value": "Network", "link": "https://x.example"},
    "assignment_group": "Network Operations",
    "impact": "1 - High",
    "urgency": "",
    "priority": "1 - Critical",
    "close_notes": "It was the switch.",
}


def written(folder: Path, content: object) -> Path:
    file = folder / "export.json"
    file.write_text(json.dumps(content))
    return file


def test_labels_are_taken_out(tmp_path: Path) -> None:
    """What is to be found out, and what tells it, is not in the ticket; an empty field is no label."""
    (incident,) = incidents_in(written(tmp_path, {"result": [INCIDENT]}))
    assert incident.ticket == {"number": "INC1", "short_description": "No network"}
    assert incident.labels == {"category": "Network", "assignment_group": "Network Operations", "impact": "1 - High"}


def test_choices(tmp_path: Path) -> None:
    """Choices are those of the file, else all that its incidents have."""
    other = INCIDENT | {"number": "INC2", "category": "Hardware"}
    file = written(tmp_path, {"incidents": [INCIDENT, other]})
    assert choices_of(file, incidents_in(file)) == {
        "category": ["Hardware", "Network"],
        "assignment_group": ["Network Operations"],
    }
    file = written(tmp_path, {"incidents": [INCIDENT], "choices": {"category": ["Network", "Software"]}})
    assert choices_of(file, incidents_in(file)) == {"category": ["Network", "Software"]}


def test_without_labels(tmp_path: Path) -> None:
    """A file without labels is told."""
    with pytest.raises(FileUnreadable, match="no incident with a label"):
        incidents_in(written(tmp_path, [{"short_description": "No network"}]))


def test_history_is_the_others(tmp_path: Path) -> None:
    """A ticket's history has the labels of all other incidents, and not its own."""
    file = written(tmp_path, [INCIDENT, INCIDENT | {"number": "INC2"}])
    incidents = incidents_in(file)
    first, second = bodies(incidents, {}, history=True)
    assert [each["number"] for each in first["history"]] == ["INC2"]
    assert second["history"][0]["category"] == "Network"
    assert "history" not in bodies(incidents, {}, history=False)[0]
