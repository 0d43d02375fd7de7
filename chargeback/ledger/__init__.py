"""Usage events into rollups and detail rows, each once."""
