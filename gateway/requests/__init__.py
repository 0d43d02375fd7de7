"""What is asked for: a request becomes a call."""
