"""What can be found out about a ticket: one module a task."""
