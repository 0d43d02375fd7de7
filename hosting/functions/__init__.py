"""The bridge between Azure Functions and the app."""
