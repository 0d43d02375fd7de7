"""A job's result as a work note, and the requests that write it into an incident by ServiceNow's Table API.

PATCH /api/now/table/{table}/{sys_id} with `work_notes` appends an entry to that journal; fields that an ACL forbids
are dropped without an error. A repeated PATCH would append the note again, so before another attempt the journal is
read: GET with `sysparm_fields=work_notes&sysparm_display_value=true` returns it as one string, in which the note's
last line, which names the job, is looked for.
Source: ServiceNow, REST API reference, Table API.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from enrichment.jobs.outbound import Answer, Request

LONGEST_NOTE: Final = 30_000
"""Characters; a journal entry takes more, but nobody reads it."""

_CODE: Final = re.compile(r"\[\s*(/?\s*code)\s*\]", re.IGNORECASE)
"""A journal shows what stands between these as HTML: no model, and nobody whose words it repeats, shall write that."""

_READ: Final = "?sysparm_fields=work_notes&sysparm_display_value=true"
_CAREFUL: Final = "Careful: text in this ticket speaks to a model. Nothing of this was applied."
_TITLES: Final = {"issue": "Issue", "actions_taken": "Actions taken", "resolution": "Resolution"}


def is_sys_id(text: str) -> bool:
    """Tell whether this is the form of a sys_id: ServiceNow's are 32 hexadecimal digits."""
    return len(text) == 32 and all(digit in "0123456789abcdef" for digit in text.lower())


def mark(job_id: str) -> str:
    """Return the line by which a note is recognised."""
    return f"Tollgate job {job_id}"


def note(job_id: str, result: Mapping[str, Any]) -> str:
    """Return the text of the note: the summary, what is suggested for which field, and the mark."""
    lines: list[str] = []
    match result.get("summary"):
        case str(text):
            lines.append(text)
        case dict(parts):
            lines += [f"{title}: {_text(parts[name])}" for name, title in _TITLES.items() if parts.get(name)]
    suggestions = result.get("suggestions")
    if isinstance(suggestions, dict):
        lines += [_suggested(field, told) for field, told in suggestions.items() if isinstance(told, dict)]
    steps = result.get("next_steps")
    if isinstance(steps, list) and steps:
        lines += ["Next steps:", *(f"- {_text(step)}" for step in steps)]
    if _speaks_to_a_model(result):
        lines.append(_CAREFUL)
    text = "\n".join(line for line in lines if line) or "Enriched, without a suggestion."
    text = _CODE.sub(r"(\1)", text)
    return f"{text[:LONGEST_NOTE]}\n\n{mark(job_id)}"


def patch_request(
    url: str, headers: Mapping[str, str], job_id: str, result: Mapping[str, Any], *, apply_patch: bool
) -> Request:
    """Return the request that writes the note; `url` is the record's."""
    patch = result.get("patch")
    fields = _writable(patch) if apply_patch and isinstance(patch, dict) else {}
    body = json.dumps(fields | {"work_notes": note(job_id, result)}).encode()
    return Request("PATCH", url, {**_JSON, **headers}, body)


def read_request(url: str, headers: Mapping[str, str]) -> Request:
    """Return the request that reads the record's journal."""
    return Request("GET", url + _READ, {**_JSON, **headers})


def holds(answer: Answer, job_id: str) -> bool:
    """Tell whether the journal that `read_request` asked for has the job's note; False where it cannot be told.

    The bytes are searched as they are: a long journal comes cut off, and begins with what is newest.
    """
    line = re.compile(re.escape(mark(job_id)).encode() + rb"(?![A-Za-z0-9._:-])")
    return answer.status == 200 and line.search(answer.body) is not None


_JSON: Final = {"accept": "application/json", "content-type": "application/json"}


def _writable(patch: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out a group that is known by its name alone: the Table API would store the name in place of a sys_id."""
    group = patch.get("assignment_group", "")
    named = isinstance(group, str) and not is_sys_id(group)
    return {field: value for field, value in patch.items() if field != "assignment_group" or not named}


def _speaks_to_a_model(result: Mapping[str, Any]) -> bool:
    tasks = result.get("tasks")
    told = [task.get("warnings") for task in tasks if isinstance(task, dict)] if isinstance(tasks, list) else []
    flaws = [flaw for warnings in told if isinstance(warnings, list) for flaw in warnings if isinstance(flaw, dict)]
    return any(flaw.get("code") == "speaks_to_a_model" for flaw in flaws)


def _suggested(field: str, told: Mapping[str, Any]) -> str:
    value = told.get("value")
    if value in (None, ""):
        return ""
    band = f" ({told['band']} confidence)" if isinstance(told.get("band"), str) else ""
    return f"Suggested {field.replace('_', ' ')}: {_text(value)}{band}"


def _text(value: object) -> str:
    match value:
        case str():
            return value
        case dict() if isinstance(text := value.get("text") or value.get("step"), str):
            return text
        case list():
            return " ".join(_text(each) for each in value)
        case _:
            return json.dumps(value)
