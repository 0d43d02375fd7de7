"""Backends, deployments and what may be configured of them."""
