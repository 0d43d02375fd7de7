"""Calls of models on their way to a backend and back, as a plain ASGI application."""
