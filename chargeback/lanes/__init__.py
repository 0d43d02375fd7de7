"""What was taken from each partition of the hub, number by number, and the calls that are open there."""
