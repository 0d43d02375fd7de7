"""Things that the ticket names, each proven by standing there."""

from typing import Final, Literal

from pydantic import BaseModel

from enrichment.answers.answers import TaskWarning
from enrichment.answers.findings import Entity, Findings
from enrichment.calls.calls import Asker
from enrichment.calls.schemas import strict
from enrichment.case import Case, Found
from enrichment.prompts.entities import ENTITIES
from enrichment.suggestions.grounding import cited

MAX_ENTITIES: Final = 20

Kind = Literal[
    "application", "device", "server", "network", "version", "error", "file", "place", "date", "team", "person", "other"
]


class NamedThing(BaseModel):
    entry: str
    kind: Kind
    value: str


class EntitiesAnswer(BaseModel):
    entities: list[NamedThing]


SCHEMA: Final = strict(EntitiesAnswer)


async def run(case: Case, asker: Asker) -> Found:
    answer = await asker.ask(ENTITIES, case.material, EntitiesAnswer, SCHEMA)
    kept: dict[tuple[str, str], Entity] = {}
    dropped = False
    for thing in answer.entities:
        known, _ = cited([thing.entry], case.names)
        entry = next((name for name in known if case.says(thing.value, name)), "") or _place(thing.value, case)
        if entry:
            entity = Entity(kind=thing.kind, value=" ".join(thing.value.split()), entry=entry)
            kept.setdefault((thing.kind, thing.value.casefold()), entity)
        else:
            dropped = True
    message = "Things that the ticket does not name were dropped."
    flaws = (TaskWarning(code="not_in_ticket", message=message),) if dropped else ()
    return Found(Findings(entities=tuple(kept.values())[:MAX_ENTITIES]), flaws)


def _place(value: str, case: Case) -> str:
    """Return the first part that holds a value whose entry the model got wrong; "" where none does."""
    return next((name for name in case.texts if case.says(value, name)), "")
