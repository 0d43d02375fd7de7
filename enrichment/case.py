"""A ticket as the tasks see it, and what they return."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from enrichment.answers.answers import TaskWarning
from enrichment.answers.findings import Findings
from enrichment.requests.requests import EnrichRequest, SuggestedField
from enrichment.suggestions.grounding import searchable
from enrichment.suggestions.triage import TriageRules
from enrichment.tickets.languages import UNKNOWN, language_of, named
from enrichment.tickets.material import Part, parts_of
from enrichment.tickets.neighbours import Neighbours
from enrichment.tickets.suspicion import speaks_to_a_model
from enrichment.tickets.ticket import Coded

REPORT: Final = frozenset({"short_description", "description", "cmdb_ci"})
"""Parts that a ticket begins with: how it was solved does not stand there."""


@dataclass(frozen=True, slots=True)
class Case:
    """`parts` of the ticket become the `material` that models are shown, names of entries included.

    `suspicious`: some of its text speaks to a model, so that nothing is applied unseen.
    `texts` is all that the ticket says, by the names that may be cited; `words` the same, ready to be searched.

    `language` is the tag of the ticket's language, `writing_tag` that of the language to write in.
    """

    request: EnrichRequest
    parts: tuple[Part, ...]
    texts: Mapping[str, str]
    words: Mapping[str, str]
    material: str = ""
    language: str = UNKNOWN
    suspicious: bool = False
    triage: TriageRules = field(default_factory=TriageRules)
    neighbours: Neighbours = field(default_factory=Neighbours)

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self.texts)

    def says(self, quote: str, part: str | None = None) -> bool:
        """Tell whether a quotation stands in the ticket, or in one part of it."""
        sought = searchable(quote)
        texts = self.words.values() if part is None else (self.words.get(part, ""),)
        return bool(sought.strip()) and any(sought in text for text in texts)

    def says_later(self, quote: str) -> bool:
        """Tell whether a quotation stands in what came after the report: in a journal, or in the close notes."""
        return any(self.says(quote, part) for part in self.texts if part not in REPORT)

    def applies(self, name: SuggestedField, present: Coded, suggested: Coded, confidence: float) -> bool:
        """Tell whether a suggestion goes into the patch."""
        rule = self.request.rule(name)
        return not self.suspicious and self.triage.applies(name, present, suggested, confidence, rule)

    @property
    def suspicions(self) -> tuple[TaskWarning, ...]:
        """Return why nothing is applied, where that is so: for tasks by whose results people act."""
        message = "Text in the ticket speaks to a model: read this before you use it; nothing is applied unseen."
        return (TaskWarning(code="speaks_to_a_model", message=message),) if self.suspicious else ()

    @property
    def writing_tag(self) -> str:
        return self.request.output_language or self.language

    @property
    def writing(self) -> str:
        """Return the language to write in as models are told of it."""
        return named(self.writing_tag)


class Found(NamedTuple):
    """What a task found, and what it dropped on the way."""

    findings: Findings
    warnings: tuple[TaskWarning, ...] = ()


def case_of(request: EnrichRequest, triage: TriageRules) -> Case:
    """Return the case of a ticket before anything was asked about it."""
    parts = parts_of(request.ticket)
    texts = {part.name: part.text for part in parts}
    whole = "\n".join(texts.values())
    return Case(
        request,
        parts,
        texts,
        words={name: searchable(text) for name, text in texts.items()},
        language=language_of(whole),
        suspicious=speaks_to_a_model(whole),
        triage=triage,
    )
