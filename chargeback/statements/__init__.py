"""A subscription's month."""
