"""A Functions host for one machine."""
