"""Which backend a call goes to, and which are left alone."""
