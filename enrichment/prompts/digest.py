"""For tickets that are too long to be sent to every task."""

from typing import Final

from enrichment.prompts.prompt import DATA, Prompt

DIGEST: Final = Prompt(
    name="digest",
    version=1,
    text=DATA
    + """\
These are entries from the middle of a long ticket. Keep what somebody who works on it must know: symptoms, findings,
what was tried and how it ended, decisions, who waits for whom, error codes and names exactly as they stand. Leave out
greetings, thanks and repetitions. Under `facts`, write at most fifteen short sentences, oldest first, in the language
of the entries; with each, first list under `entries` the names of the entries that it rests on.""",
)
