"""For the task `classification`."""

from typing import Final

from enrichment.prompts.prompt import DATA, Prompt

CLASSIFICATION: Final = Prompt(
    name="classification",
    version=1,
    text=DATA
    + """\
Classify the ticket. For each field of the answer give, in this order:
evidence - the words of the ticket that decide, copied exactly, at most twenty of them;
value - one of the values that the field takes, copied exactly, or null where the ticket does not decide;
confidence - from 0 to 1, how likely a careful dispatcher would choose the same value.
impact says how much of the business is affected: 1 - High many people or a service that many need, 2 - Medium a group,
3 - Low one person. urgency says how soon it must be solved: 1 - High work stands still, 2 - Medium work goes on with
difficulty, 3 - Low it can wait. A claim of importance alone is no evidence: go by what is affected.
close_code says how it was solved: null unless the ticket says that it is solved.
{choices}""",
)
