"""Every task by its name."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from enrichment.calls.calls import Asker
from enrichment.case import Case, Found
from enrichment.prompts.classification import CLASSIFICATION
from enrichment.prompts.entities import ENTITIES
from enrichment.prompts.knowledge_article import KNOWLEDGE_ARTICLE
from enrichment.prompts.next_steps import NEXT_STEPS
from enrichment.prompts.prompt import Prompt
from enrichment.prompts.reply import REPLY
from enrichment.prompts.resolution_notes import RESOLUTION_NOTES
from enrichment.prompts.sentiment import SENTIMENT
from enrichment.prompts.summary import SUMMARY
from enrichment.tasks import (
    classification,
    entities,
    knowledge_article,
    next_steps,
    reply,
    resolution_notes,
    sentiment,
    similar,
    summary,
)


@dataclass(frozen=True, slots=True)
class Task:
    """`prompt` is None where no model is asked."""

    prompt: Prompt | None
    run: Callable[[Case, Asker], Awaitable[Found]]


TASKS: Final[Mapping[str, Task]] = {
    "summary": Task(SUMMARY, summary.run),
    "classification": Task(CLASSIFICATION, classification.run),
    "sentiment": Task(SENTIMENT, sentiment.run),
    "entities": Task(ENTITIES, entities.run),
    "next_steps": Task(NEXT_STEPS, next_steps.run),
    "similar": Task(None, similar.run),
    "resolution_notes": Task(RESOLUTION_NOTES, resolution_notes.run),
    "knowledge_article": Task(KNOWLEDGE_ARTICLE, knowledge_article.run),
    "reply": Task(REPLY, reply.run),
}
