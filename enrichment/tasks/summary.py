"""The ticket in three parts: issue, actions taken, resolution; each sentence with the entries that it rests on."""

from typing import Final

from pydantic import BaseModel

from enrichment.answers.findings import Findings, TicketSummary
from enrichment.calls.calls import Asker
from enrichment.calls.schemas import strict
from enrichment.case import Case, Found
from enrichment.prompts.summary import SUMMARY
from enrichment.suggestions.grounding import Sentence, grounded, joined


class SummaryAnswer(BaseModel):
    issue: list[Sentence]
    actions_taken: list[Sentence]
    resolution: list[Sentence]


SCHEMA: Final = strict(SummaryAnswer)


async def run(case: Case, asker: Asker) -> Found:
    answer = await asker.ask(SUMMARY, case.material, SummaryAnswer, SCHEMA, language=case.writing)
    issue, flaws = grounded(answer.issue, case.names)
    actions, more = grounded(answer.actions_taken, case.names)
    resolution, most = grounded(answer.resolution, case.names)
    summary = TicketSummary(
        issue=joined(issue),
        actions_taken=joined(actions),
        resolution=joined(resolution),
        citations=(*issue, *actions, *resolution),
    )
    return Found(Findings(summary=summary), tuple(dict.fromkeys((*flaws, *more, *most))))
