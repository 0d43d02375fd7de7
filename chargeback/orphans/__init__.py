"""Calls that were announced and never ended, as estimated lines."""
