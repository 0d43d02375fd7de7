"""Every task by its name."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from enrichment.calls import Asker
from enrichment.case import Case, Found
from enrichment.prompts.prompt import Prompt
from enrichment.prompts.summary import SUMMARY
from enrichment.requests import TaskName
from enrichment.tasks import summary


@dataclass(frozen=True, slots=True)
class Task:
    """`prompt` is None where no model is asked."""

    prompt: Prompt | None
    run: Callable[[Case, Asker], Awaitable[Found]]


TASKS: Final[Mapping[TaskName, Task]] = {"summary": Task(SUMMARY, summary.run)}
