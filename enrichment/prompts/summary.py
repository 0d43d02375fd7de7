"""For the task `summary`."""

from typing import Final

from enrichment.prompts.prompt import DATA, Prompt

SUMMARY: Final = Prompt(
    name="summary",
    version=1,
    text=DATA
    + """\
Summarise the ticket for a colleague who takes it over, in three parts, each a list of short sentences:
issue - what is wrong, for whom or for what, since when, with which effect; at most three sentences;
actions_taken - what has been done or found out so far, oldest first; at most five sentences;
resolution - what solved it; empty where it is not solved.
With each sentence, first list under `entries` the names of the entries that it rests on. A sentence that rests on no
entry must not be written. Say a thing once.
Write in {language}, whatever the ticket's language is.""",
)
