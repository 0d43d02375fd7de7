"""What becomes of a model's words: checked, rated and put into a patch."""
