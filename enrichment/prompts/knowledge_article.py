"""For the task `knowledge_article`."""

from typing import Final

from enrichment.prompts.prompt import DATA, Prompt

KNOWLEDGE_ARTICLE: Final = Prompt(
    name="knowledge_article",
    version=1,
    max_tokens=3_000,
    text=DATA
    + """\
Draft a knowledge article from the ticket, for others who meet the same fault: it names no person, no single machine and
no ticket. Give, in this order:
symptoms, cause, resolution - each a list of short sentences; with each sentence, first list under `entries` the names
of the entries that it rests on; a part that the ticket says nothing about stays empty;
title - what the fault is, in at most twelve words;
keywords - at most eight words that people would search for.
Write in {language}, whatever the ticket's language is.""",
)
