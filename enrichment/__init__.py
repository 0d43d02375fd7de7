"""Tickets, enriched by models that are reached through the gateway alone."""
