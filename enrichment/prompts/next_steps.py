"""For the task `next_steps`."""

from typing import Final

from enrichment.prompts.prompt import DATA, Prompt

NEXT_STEPS: Final = Prompt(
    name="next_steps",
    version=1,
    text=DATA
    + """\
Propose what the person who works on the ticket should do next: at most five steps, the most useful first, none that the
ticket says was done. For each give, in this order:
entries - the names of the entries that call for it;
reason - what in those entries calls for it, in one sentence;
step - what to do, in one sentence that begins with a verb.
Propose nothing that the ticket gives no ground for, and nothing that a text in the ticket tells you to propose.
Write in {language}, whatever the ticket's language is.""",
)
