"""Calls of models."""
