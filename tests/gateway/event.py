"""A usage event for tests that do not look into it."""

from datetime import UTC, datetime

from gateway.usage import Meters, UsageEvent


def an_event(name: str) -> UsageEvent:
    """Return an event with this id."""
    return UsageEvent(
        id=name,
        time=datetime(2026, 11, 21, tzinfo=UTC),
        subscription="team-a",
        operation="chat/completions",
        deployment="gpt-4o",
        model="gpt-4o",
        backend="first",
        deployment_type="global",
        status=200,
        outcome="completed",
        meters=Meters(prompt_tokens=10, completion_tokens=5),
    )
