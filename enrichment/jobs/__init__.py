"""Enrichment that outlives its request: jobs, their leases, what they answer to whom."""
