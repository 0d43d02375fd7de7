"""Event Hubs as the event stream."""
