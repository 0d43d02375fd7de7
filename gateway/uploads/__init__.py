"""Bodies that are passed on as they come: forms, and what is kept of them for a second attempt."""
