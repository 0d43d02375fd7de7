"""For the task `entities`."""

from typing import Final

from enrichment.prompts.prompt import DATA, Prompt

ENTITIES: Final = Prompt(
    name="entities",
    version=1,
    text=DATA
    + """\
List the things that the ticket names and that help to find its cause or its solver: applications, devices, servers,
network parts, versions, error codes and messages, files, places, dates, teams and people. For each give, in this order:
entry - the name of the entry that names it;
kind - what it is;
value - its name, copied exactly from the ticket.
List a thing once, the most telling first, at most twenty. General words such as computer or email are no names.""",
)
