"""Incidents whose fields are known, as tickets that do not tell them.

A file holds `{"incidents": [...]}`, `{"result": [...]}` or a list, by the names of the Table API. `choices` beside it
says what fields may take; without it, whatever the incidents have.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hosting.commands.ticket_files import FileUnreadable, Json, requests_in

FIELDS: Final = ("category", "subcategory", "assignment_group", "impact", "urgency")
"""What is scored, where it is known. Priority is computed from two of these, and never predicted."""

_CHOSEN: Final = ("category", "subcategory", "assignment_group")
_TELLING: Final = (*FIELDS, "priority", "close_code", "close_notes")
"""Fields that a new ticket would not have, or that tell what is to be found out."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """`ticket` is as it would come in; `labels` is what people made of it, by field."""

    name: str
    ticket: Json
    labels: Mapping[str, str]


def incidents_in(file: Path, fields: Sequence[str] = FIELDS) -> list[Labelled]:
    """Return the incidents of a file that have a label. Raises FileUnreadable."""
    found = [_labelled(each.name, each.body["ticket"], fields) for each in requests_in(file)]
    labelled = [each for each in found if each.labels]
    if not labelled:
        raise FileUnreadable(f"{file} holds no incident with a label: none has any of {', '.join(fields)}.")
    return labelled


def choices_of(file: Path, incidents: Sequence[Labelled]) -> dict[str, list[str]]:
    """Return what each field may take: as the file says, else all that its incidents have."""
    content: Any = json.loads(file.read_bytes())
    given = content.get("choices") if isinstance(content, dict) else None
    if isinstance(given, dict):
        return {field: list(given[field]) for field in _CHOSEN if given.get(field)}
    known = {field: sorted({each.labels[field] for each in incidents if field in each.labels}) for field in _CHOSEN}
    return {field: values for field, values in known.items() if values}


def _labelled(name: str, incident: Json, fields: Sequence[str]) -> Labelled:
    labels = {field: text for field in fields if (text := _shown(incident.get(field)))}
    return Labelled(name, {key: value for key, value in incident.items() if key not in _TELLING}, labels)


def _shown(value: Any) -> str:
    text = value.get("display_value") or value.get("value") if isinstance(value, dict) else value
    return text.strip() if isinstance(text, str) else ""
