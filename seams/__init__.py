"""The few interfaces that every capability is written against, and nothing else.

`clock` time, `tables` rows, `events` an event stream, `tokens` upstream access tokens. Each has one implementation for
Azure in `hosting`, and where a machine without Azure needs it, one in `local`; both pass the same contract tests.
"""
