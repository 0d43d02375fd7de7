"""A draft of what the service desk writes to the caller."""

from typing import Final

from pydantic import BaseModel

from enrichment.answers import TaskWarning
from enrichment.calls import Asker
from enrichment.case import Case, Found
from enrichment.errors import AnswerUnusable
from enrichment.findings import Findings, Reply
from enrichment.grounding import cited
from enrichment.prompts.reply import REPLY
from enrichment.schemas import strict


class ReplyAnswer(BaseModel):
    entries: list[str]
    text: str


SCHEMA: Final = strict(ReplyAnswer)


async def run(case: Case, asker: Asker) -> Found:
    answer = await asker.ask(REPLY, case.material, ReplyAnswer, SCHEMA, language=case.writing)
    if not answer.text:
        raise AnswerUnusable("The model wrote no reply.")
    known, others = cited(answer.entries, case.names)
    message = "The model cited entries that the ticket does not have."
    flaws = (TaskWarning(code="unknown_entry", message=message),) if others else ()
    return Found(Findings(reply=Reply(text=answer.text, language=case.writing_tag, entries=known)), flaws)
