"""What tasks find out about a ticket, described for /openapi.json.

Every model has fixed field names; what is not there is left out.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

Band = Literal["High", "Medium", "Low"]


def absent(value: object) -> bool:
    """Tell whether a field is left out of an answer."""
    return value is None or value == ()


def optional(description: str | None = None) -> Any:
    """Return a field that is left out where there is nothing to say."""
    return Field(default=None, exclude_if=absent, description=description)


class Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class Suggestion(Answer):
    """A value for a field of the ticket."""

    value: str = Field(description="What people see: one of the choices that came with the request.")
    confidence: float = Field(description="0 to 1; docs/enrichment.md says how it is made.")
    band: Band
    evidence: str = Field(description="The words of the ticket that it rests on.")
    agreement: float | SkipJsonSchema[None] = optional("0 to 1: the share of similar tickets that have this value.")
    apply: bool = Field(description="Whether it is in the patch.")


class Suggestions(Answer):
    category: Suggestion | SkipJsonSchema[None] = optional()
    subcategory: Suggestion | SkipJsonSchema[None] = optional()
    assignment_group: Suggestion | SkipJsonSchema[None] = optional()
    close_code: Suggestion | SkipJsonSchema[None] = optional()
    impact: Suggestion | SkipJsonSchema[None] = optional()
    urgency: Suggestion | SkipJsonSchema[None] = optional()
    priority: Suggestion | SkipJsonSchema[None] = optional("Computed from impact and urgency, never predicted.")
    close_notes: Suggestion | SkipJsonSchema[None] = optional()


class Citation(Answer):
    """A sentence and the parts of the ticket that it rests on."""

    sentence: str
    entries: tuple[str, ...] = Field(description="Names of fields, or `work_notes-1` for the oldest note, and so on.")


class TicketSummary(Answer):
    """A ticket in three parts; a part is empty where the ticket says nothing about it."""

    issue: str
    actions_taken: str
    resolution: str
    citations: tuple[Citation, ...]


class Sentiment(Answer):
    """How the caller feels, and where that is going."""

    value: Literal["positive", "neutral", "negative"]
    trend: Literal["improving", "steady", "worsening", "unknown"]
    reason: str
    evidence: str
    confidence: float
    band: Band


class Entity(Answer):
    """A thing that the ticket names, in the ticket's own words."""

    kind: str
    value: str
    entry: str = Field(description="The part of the ticket that names it.")


class NextStep(Answer):
    step: str
    reason: str
    entries: tuple[str, ...] = Field(description="The parts of the ticket that call for it.")


class SimilarTicket(Answer):
    number: str
    sys_id: str
    short_description: str
    close_notes: str
    score: float = Field(description="0 to 1.")


class SimilarTickets(Answer):
    """Tickets of the history, the most similar first."""

    method: Literal["embeddings", "words"] = Field(description="What the score compares.")
    tickets: tuple[SimilarTicket, ...]


class ResolutionNotes(Answer):
    text: str
    citations: tuple[Citation, ...]


class KnowledgeArticle(Answer):
    """A draft; empty parts are for its author to fill."""

    title: str
    symptoms: str
    cause: str
    resolution: str
    keywords: tuple[str, ...]
    citations: tuple[Citation, ...]


class Reply(Answer):
    """A draft of what the service desk writes to the caller."""

    text: str
    language: str = Field(description="BCP 47 tag, `und` where it is the ticket's and could not be told.")
    entries: tuple[str, ...] = Field(description="The parts of the ticket that it answers to.")


class Findings(Answer):
    """What tasks found out about a ticket."""

    suggestions: Suggestions = Suggestions()
    summary: TicketSummary | SkipJsonSchema[None] = optional()
    sentiment: Sentiment | SkipJsonSchema[None] = optional()
    entities: tuple[Entity, ...] | SkipJsonSchema[None] = Field(default=None, exclude_if=lambda value: value is None)
    next_steps: tuple[NextStep, ...] | SkipJsonSchema[None] = Field(
        default=None, exclude_if=lambda value: value is None
    )
    similar: SimilarTickets | SkipJsonSchema[None] = optional()
    resolution_notes: ResolutionNotes | SkipJsonSchema[None] = optional()
    knowledge_article: KnowledgeArticle | SkipJsonSchema[None] = optional()
    reply: Reply | SkipJsonSchema[None] = optional()
