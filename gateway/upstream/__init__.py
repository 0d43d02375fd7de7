"""Connections to backends, over HTTP/1.1."""
