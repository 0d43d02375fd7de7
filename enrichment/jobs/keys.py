"""Idempotency keys: what makes two requests one."""

from collections.abc import Sequence
from typing import Any, Final

from enrichment.tickets.ticket import Ticket

IDEMPOTENCY_KEY: Final[dict[str, Any]] = {
    "max_length": 255,
    "pattern": r"^[\x21-\x7e]*$",
    "description": "Requests of one subscription with the same key and body get one answer, and cost one. Without it "
    "sys_id, sys_updated_on and tasks are the key, where the ticket has both.",
}
"""The header, as FastAPI's Header takes it."""


def key_of(header: str, ticket: Ticket, tasks: Sequence[str]) -> str:
    """Return the key of a request, "" for one that has none."""
    if header:
        return f"header {header}"
    if ticket.sys_id and ticket.sys_updated_on:
        return f"ticket {ticket.sys_id} {ticket.sys_updated_on} {' '.join(sorted(tasks))}"
    return ""
