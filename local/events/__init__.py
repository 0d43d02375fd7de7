"""Event streams of a developer's machine."""
