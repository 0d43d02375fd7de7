"""Personal data of a ticket: found, hidden from the model, and put back into its answer."""
