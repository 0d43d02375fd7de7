"""Rates, quotas and budgets of subscriptions."""
