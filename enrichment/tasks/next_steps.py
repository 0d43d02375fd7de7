"""What to do next, each step with what calls for it."""

from typing import Final

from pydantic import BaseModel

from enrichment.answers.answers import TaskWarning
from enrichment.answers.findings import Findings, NextStep
from enrichment.calls.calls import Asker
from enrichment.calls.schemas import strict
from enrichment.case import Case, Found
from enrichment.prompts.next_steps import NEXT_STEPS
from enrichment.suggestions.grounding import cited

MAX_STEPS: Final = 5


class ProposedStep(BaseModel):
    entries: list[str]
    reason: str
    step: str


class NextStepsAnswer(BaseModel):
    steps: list[ProposedStep]


SCHEMA: Final = strict(NextStepsAnswer)


async def run(case: Case, asker: Asker) -> Found:
    answer = await asker.ask(NEXT_STEPS, case.material, NextStepsAnswer, SCHEMA, language=case.writing)
    kept: list[NextStep] = []
    warnings: dict[str, TaskWarning] = {}
    for proposed in answer.steps:
        known, others = cited(proposed.entries, case.names)
        step = " ".join(proposed.step.split())
        if others:
            warnings["unknown_entry"] = TaskWarning(
                code="unknown_entry", message="The model cited entries that the ticket does not have."
            )
        if known and step:
            kept.append(NextStep(step=step, reason=" ".join(proposed.reason.split()), entries=known))
        else:
            warnings["sentence_not_grounded"] = TaskWarning(
                code="sentence_not_grounded", message="Steps that nothing in the ticket calls for were dropped."
            )
    return Found(Findings(next_steps=tuple(kept[:MAX_STEPS])), (*warnings.values(), *case.suspicions))
