"""Usage records on their way out: the event hub, the outbox behind it, memory behind both."""
