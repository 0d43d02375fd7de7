"""A draft of what the service desk writes to the caller."""

from collections.abc import Iterator
from typing import Final

from pydantic import BaseModel

from enrichment.answers.answers import TaskWarning
from enrichment.answers.findings import Findings, Reply
from enrichment.calls.calls import Asker
from enrichment.calls.schemas import strict
from enrichment.case import Case, Found
from enrichment.errors import AnswerUnusable
from enrichment.prompts.reply import REPLY
from enrichment.suggestions.grounding import cited, searchable

_RUN: Final = 6
"""So many words of a note in a row are no chance; nor is a whole shorter note of at least `_FEWEST`."""
_FEWEST: Final = 3


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
    if _discloses(answer.text, case):
        message = "The reply has words of an internal note (work_notes): read it before it is sent."
        flaws = (*flaws, TaskWarning(code="internal_note_quoted", message=message))
    return Found(
        Findings(reply=Reply(text=answer.text, language=case.writing_tag, entries=known)), (*flaws, *case.suspicions)
    )


def _discloses(text: str, case: Case) -> bool:
    """Tell whether a text has a run of words of an internal note that stands in nothing the caller may read."""
    said = searchable(text)
    internal = {name: words for name, words in case.words.items() if name.startswith("work_notes-")}
    public = [words for name, words in case.words.items() if name not in internal]
    short = (note for note in internal.values() if _FEWEST <= len(note.split()) < _RUN and note in said)
    runs = (run for run in _runs(said) if any(run in note for note in internal.values()))
    return any(not any(run in words for words in public) for run in (*short, *runs))


def _runs(text: str) -> Iterator[str]:
    words = text.split()
    for start in range(len(words) - _RUN + 1):
        yield f" {' '.join(words[start : start + _RUN])} "
