"""How the caller feels, and whether that is getting better."""

from typing import Final, Literal

from pydantic import BaseModel

from enrichment.answers.answers import TaskWarning
from enrichment.answers.findings import Findings, Sentiment
from enrichment.calls.calls import Asker
from enrichment.calls.schemas import strict
from enrichment.case import Case, Found
from enrichment.prompts.sentiment import SENTIMENT
from enrichment.suggestions.confidence import band, confidence
from enrichment.tickets.material import Part

_FEWEST_WORDS: Final = 2
"""A trend has two ends."""


class SentimentAnswer(BaseModel):
    evidence: str
    reason: str
    value: Literal["positive", "neutral", "negative"]
    trend: Literal["improving", "steady", "worsening", "unknown"]
    confidence: float


SCHEMA: Final = strict(SentimentAnswer)


async def run(case: Case, asker: Asker) -> Found:
    answer = await asker.ask(SENTIMENT, case.material, SentimentAnswer, SCHEMA, language=case.writing)
    # A calm ticket has no words that prove calm.
    proven = case.says(answer.evidence) or (answer.value == "neutral" and not answer.evidence)
    sure = confidence(answer.confidence, proven=proven, agreement=None)
    told = sum(1 for part in case.parts if _told_by_caller(part))
    sentiment = Sentiment(
        value=answer.value,
        trend=answer.trend if told >= _FEWEST_WORDS else "unknown",
        reason=answer.reason,
        evidence=answer.evidence if proven else "",
        confidence=sure,
        band=band(sure),
    )
    message = "The words that the model quotes are not in the ticket, and were dropped."
    flaws = () if proven else (TaskWarning(code="evidence_not_found", message=message),)
    return Found(Findings(sentiment=sentiment), flaws)


def _told_by_caller(part: Part) -> bool:
    """Tell what the caller may have written: the description, comments, and entries of unknown journals."""
    return part.name == "description" or part.name.startswith(("comments-", "journal-"))
