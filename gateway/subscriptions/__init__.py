"""Subscriptions: their keys, entitlements and where they are kept."""
