"""A ticket as parts that can be cited: fields by their names, journal entries as `work_notes-1` and so on."""

from collections import Counter
from dataclasses import dataclass
from typing import Final

from enrichment.tickets.ticket import Ticket

JOURNAL: Final = "journal"
"""Names entries of which it is not known in which journal they stand."""
_JOURNALS: Final = frozenset({"work_notes", "comments"})


@dataclass(frozen=True, slots=True)
class Part:
    """`name` is ours, never the caller's. `about` says when and by whom an entry was written."""

    name: str
    text: str
    about: str = ""


def parts_of(ticket: Ticket) -> tuple[Part, ...]:
    """Return what a ticket says: its title, description, journals, each oldest first, and its close notes."""
    fields = (("short_description", ticket.short_description), ("description", ticket.description))
    closing = (("cmdb_ci", ticket.cmdb_ci.shown), ("close_notes", ticket.close_notes))
    return (
        *(Part(name, text) for name, text in fields if text),
        *_entries(ticket),
        *(Part(name, text) for name, text in closing if text),
    )


def _entries(ticket: Ticket) -> list[Part]:
    counted: Counter[str] = Counter()
    parts: list[Part] = []
    for entry in ticket.journal():
        name = entry.element if entry.element in _JOURNALS else JOURNAL
        counted[name] += 1
        about = ", ".join(filter(None, (entry.sys_created_on, entry.sys_created_by)))
        parts.append(Part(f"{name}-{counted[name]}", entry.value, about))
    return parts
