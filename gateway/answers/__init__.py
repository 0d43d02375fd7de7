"""A backend's answer on its way to the caller."""
