"""Measures Tollgate against the same calls made directly and through nginx; `python -m bench --help` tells more.

Every figure is a ratio inside one round of one run, because machines drift: targets take turns within a round, and the
medians over the rounds are printed. The figure to go by is CPU time per request or chunk of the target's whole process
tree; rates also depend on how much of its core the load generator shares with the upstream.
"""
