"""A call goes to one backend after the other."""
