"""For POST /summarize."""

from typing import Final

from enrichment.prompts.prompt import DATA, Prompt

PARAGRAPH: Final = Prompt(
    name="paragraph",
    version=1,
    max_tokens=1_000,
    text=DATA
    + """\
Summarise the ticket in one short paragraph, at most four sentences, in the ticket's language: what is wrong, for whom
or for what, and what has been done about it so far.
Answer with the paragraph alone: no heading, no list, no markup, no names of entries, no quotation marks around it.""",
)
