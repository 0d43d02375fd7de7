"""The notes with which a ticket is closed, and the suggestion to put them into `close_notes`."""

from typing import Final

from pydantic import BaseModel

from enrichment.answers.answers import TaskWarning
from enrichment.answers.findings import Citation, Findings, ResolutionNotes, Suggestion, Suggestions
from enrichment.calls.calls import Asker
from enrichment.calls.schemas import strict
from enrichment.case import REPORT, Case, Found
from enrichment.prompts.resolution_notes import RESOLUTION_NOTES
from enrichment.suggestions.confidence import band, clamped, confidence
from enrichment.suggestions.grounding import Sentence, grounded, joined
from enrichment.tickets.ticket import Coded


class ResolutionNotesAnswer(BaseModel):
    resolution: list[Sentence]
    confidence: float


SCHEMA: Final = strict(ResolutionNotesAnswer)


async def run(case: Case, asker: Asker) -> Found:
    answer = await asker.ask(RESOLUTION_NOTES, case.material, ResolutionNotesAnswer, SCHEMA, language=case.writing)
    kept, warnings = grounded(answer.resolution, case.names)
    text = joined(kept)
    notes = ResolutionNotes(text=text, citations=kept)
    if not text:
        message = "The ticket does not say how it was solved."
        return Found(Findings(resolution_notes=notes), (*warnings, TaskWarning(code="nothing_said", message=message)))
    # A dropped sentence casts doubt on those that stayed.
    sure = confidence(answer.confidence, proven=not warnings, agreement=None)
    suggestion = _suggestion(case, text, kept, sure)
    if clamped(answer.confidence) != answer.confidence:
        message = "The model's confidence was not between 0 and 1: nothing is applied."
        warnings = (*warnings, TaskWarning(code="confidence_clamped", field="close_notes", message=message))
        suggestion = suggestion.model_copy(update={"apply": False})
    found = Findings(resolution_notes=notes, suggestions=Suggestions(close_notes=suggestion))
    return Found(found, (*warnings, *case.suspicions))


def _suggestion(case: Case, text: str, kept: tuple[Citation, ...], sure: float) -> Suggestion:
    cited = tuple(dict.fromkeys(name for citation in kept for name in citation.entries))
    return Suggestion(
        value=text,
        confidence=sure,
        band=band(sure),
        evidence=", ".join(cited),
        apply=not REPORT.issuperset(cited)
        and case.applies("close_notes", Coded(case.request.ticket.close_notes), Coded(text), sure),
    )
