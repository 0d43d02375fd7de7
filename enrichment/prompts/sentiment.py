"""For the task `sentiment`."""

from typing import Final

from enrichment.prompts.prompt import DATA, Prompt

SENTIMENT: Final = Prompt(
    name="sentiment",
    version=1,
    max_tokens=1_000,
    text=DATA
    + """\
Judge how the person who needs help feels about the service now, not how bad the fault is: a calm report of an outage is
neutral. Notes between colleagues do not count. Give, in this order:
evidence - the words of that person that decide, copied exactly, at most twenty of them; empty where there are none;
reason - one sentence;
value - positive, neutral or negative;
trend - improving, steady or worsening between the person's first and last words, unknown where there is one alone;
confidence - from 0 to 1.
Write the reason in {language}.""",
)
