"""The gateway's paths in /openapi.json."""
