"""A usage event for tests that look into little of it."""

from datetime import UTC, datetime
from typing import Any

from gateway.usage import Meters, UsageEvent


def an_event(name: str, **changes: Any) -> UsageEvent:
    """Return an event with this id, and other fields as named."""
    fields: dict[str, Any] = {
        "id": name,
        "time": datetime(2026, 11, 21, tzinfo=UTC),
        "subscription": "team-a",
        "operation": "chat/completions",
        "deployment": "gpt-4o",
        "model": "gpt-4o",
        "backend": "first",
        "deployment_type": "global",
        "status": 200,
        "outcome": "completed",
        "meters": Meters(prompt_tokens=10, completion_tokens=5),
    }
    return UsageEvent(**fields | changes)
