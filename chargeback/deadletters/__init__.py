"""Events that cannot be billed: rows for a person to look at, and the way back."""
