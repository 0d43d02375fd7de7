"""For the task `resolution_notes`."""

from typing import Final

from enrichment.prompts.prompt import DATA, Prompt

RESOLUTION_NOTES: Final = Prompt(
    name="resolution_notes",
    version=1,
    text=DATA
    + """\
Write the notes with which the ticket is closed: what the cause was, what was done, how it was confirmed; under
`resolution`, at most five short sentences. With each sentence, first list under `entries` the names of the entries that
it rests on; a sentence that rests on no entry must not be written. Leave the list empty where the ticket does not say
how it was solved.
confidence - from 0 to 1, how sure it is that this is what solved it.
Write in {language}, whatever the ticket's language is.""",
)
