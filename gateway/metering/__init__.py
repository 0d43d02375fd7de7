"""What a call consumed, as usage events."""
