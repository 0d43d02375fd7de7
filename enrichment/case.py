"""A ticket as the tasks see it, and what they return."""

from dataclasses import dataclass, field

from enrichment.answers import Findings, TaskWarning
from enrichment.material import Part
from enrichment.requests import EnrichRequest


@dataclass(frozen=True, slots=True)
class Case:
    """`parts` is what models are shown, `names` what may be cited, `text` everything that the ticket says.

    `language` is the ticket's, `writing` the one to write in, both as English names for models.
    """

    request: EnrichRequest
    parts: tuple[Part, ...]
    names: frozenset[str]
    text: str
    language: str
    writing: str


@dataclass(frozen=True, slots=True)
class Found:
    """What a task found, and what it dropped on the way."""

    findings: Findings
    warnings: tuple[TaskWarning, ...] = field(default=())
