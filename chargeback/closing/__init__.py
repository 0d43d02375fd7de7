"""The close of the day: proofs that nothing is missing, and the end of what has been kept long enough."""
