"""Tickets in JSON files, in the forms in which people have them, as requests to /enrich."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

type Json = dict[str, Any]

MOST_TICKETS: Final = 100_000
_LISTS: Final = ("result", "incidents", "records")
_TEXTS: Final = ("short_description", "description")


class FileUnreadable(Exception):
    """The message names the file and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class TicketRequest:
    """`name` tells a person which ticket it is; `body` is what /enrich takes."""

    name: str
    body: Json


def requests_in(file: Path) -> list[TicketRequest]:
    """Return the tickets of a file, `-` for standard input. Raises FileUnreadable.

    A file holds a ticket by its Table API fields, an answer of the Table API (`{"result": ...}`), a list of tickets, an
    export (`{"incidents": [...], "choices": {...}}`), or a request to /enrich (`{"ticket": ...}`).
    """
    try:
        content = json.loads(sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes())
    except (OSError, ValueError) as error:
        raise FileUnreadable(f"{file} cannot be read as JSON: {error}") from error
    found = [_request(file, each, place) for place, each in enumerate(_tickets(content), 1)]
    if not found:
        raise FileUnreadable(f"{file} holds no ticket.")
    if len(found) > MOST_TICKETS:
        raise FileUnreadable(f"{file} holds more than {MOST_TICKETS:,} tickets.")
    return found


def _tickets(content: Any) -> Iterator[Any]:
    """Yield tickets, and requests to /enrich."""
    match content:
        case list():
            yield from content
        case dict() if "ticket" not in content and (name := next((name for name in _LISTS if name in content), "")):
            choices = content.get("choices")
            for each in _tickets(content[name]):
                yield {"ticket": each, "choices": choices} if isinstance(choices, dict) else each
        case _:
            yield content


def _request(file: Path, given: Any, place: int) -> TicketRequest:
    body = given if isinstance(given, dict) and "ticket" in given else {"ticket": given}
    ticket = body["ticket"]
    if not isinstance(ticket, dict) or not any(ticket.get(name) for name in _TEXTS):
        raise FileUnreadable(f"{file}: number {place} has neither short_description nor description.")
    return TicketRequest(_shown(ticket.get("number")) or f"{file.stem} {place}", body)


def _shown(value: Any) -> str:
    text = value.get("display_value") or value.get("value") if isinstance(value, dict) else value
    return text if isinstance(text, str) else ""
