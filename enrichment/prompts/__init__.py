"""The instructions that models are given, as versioned data: a changed text is a new version."""
