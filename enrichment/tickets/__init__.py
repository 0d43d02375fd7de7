"""Tickets, read."""
