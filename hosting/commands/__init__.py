"""The groups of the command `tollgate`, and the API as they ask it."""
