"""A draft of a knowledge article."""

from typing import Final

from pydantic import BaseModel

from enrichment.answers.answers import TaskWarning
from enrichment.answers.findings import Findings, KnowledgeArticle
from enrichment.calls.calls import Asker, Hiding
from enrichment.calls.schemas import strict
from enrichment.case import Case, Found
from enrichment.prompts.knowledge_article import KNOWLEDGE_ARTICLE
from enrichment.suggestions.grounding import Sentence, grounded, joined

MAX_KEYWORDS: Final = 8


class KnowledgeArticleAnswer(BaseModel):
    symptoms: list[Sentence]
    cause: list[Sentence]
    resolution: list[Sentence]
    title: str
    keywords: list[str]


SCHEMA: Final = strict(KnowledgeArticleAnswer)


async def run(case: Case, asker: Asker) -> Found:
    answer = await asker.ask(KNOWLEDGE_ARTICLE, case.material, KnowledgeArticleAnswer, SCHEMA, language=case.writing)
    symptoms, flaws = grounded(answer.symptoms, case.names)
    cause, more = grounded(answer.cause, case.names)
    resolution, most = grounded(answer.resolution, case.names)
    article = KnowledgeArticle(
        title=" ".join(answer.title.split()),
        symptoms=joined(symptoms),
        cause=joined(cause),
        resolution=joined(resolution),
        keywords=tuple(dict.fromkeys(filter(None, map(str.strip, answer.keywords))))[:MAX_KEYWORDS],
        citations=(*symptoms, *cause, *resolution),
    )
    warnings = dict.fromkeys((*flaws, *more, *most))
    if not resolution:
        warnings[TaskWarning(code="nothing_said", message="The ticket does not say how it was solved.")] = None
    if _tells_of_people(article, asker.way.hiding):
        message = (
            "The article has names, addresses, numbers or hosts of this ticket: take them out before others read it."
        )
        warnings[TaskWarning(code="personal_data", message=message)] = None
    return Found(Findings(knowledge_article=article), tuple(warnings))


def _tells_of_people(article: KnowledgeArticle, hiding: Hiding) -> bool:
    """Tell whether an article holds what is hidden from models where the subscription has that hidden."""
    texts = (article.title, article.symptoms, article.cause, article.resolution, *article.keywords)
    return any(hiding.hide(text) != text for text in texts)
