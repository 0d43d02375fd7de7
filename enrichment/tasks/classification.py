"""Values for fields of the ticket, each one of the caller's choices; impact and urgency; and the priority they make."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, get_args

from pydantic import BaseModel

from enrichment.answers.answers import TaskWarning
from enrichment.answers.findings import Findings, Suggestion, Suggestions
from enrichment.calls.calls import Asker
from enrichment.calls.schemas import Schema, closed, fitting, one_of
from enrichment.case import Case, Found
from enrichment.errors import AnswerUnusable
from enrichment.prompts.classification import CLASSIFICATION
from enrichment.requests.requests import ChosenField, SuggestedField
from enrichment.suggestions.claims import claims
from enrichment.suggestions.confidence import agreement, band, clamped, confidence
from enrichment.suggestions.priorities import LEVELS, PRIORITIES, level_of
from enrichment.tickets.ticket import Coded, Ticket

_CHOSEN: Final[tuple[ChosenField, ...]] = get_args(ChosenField)
_LEVELLED: Final[tuple[SuggestedField, ...]] = ("impact", "urgency")
_LEVEL_CHOICES: Final = tuple(Coded(label, str(level)) for level, label in LEVELS.items())
_LONGEST_EVIDENCE: Final = 300


class Verdict(BaseModel):
    evidence: str
    value: str | None
    confidence: float


class ClassificationAnswer(BaseModel):
    category: Verdict | None = None
    subcategory: Verdict | None = None
    assignment_group: Verdict | None = None
    close_code: Verdict | None = None
    impact: Verdict | None = None
    urgency: Verdict | None = None


@dataclass(slots=True)
class _Desk:
    """The suggestions and warnings of one ticket as they come together."""

    case: Case
    suggestions: dict[SuggestedField, Suggestion] = field(default_factory=dict)
    warnings: list[TaskWarning] = field(default_factory=list)

    def warn(self, code: str, name: SuggestedField, message: str) -> None:
        self.warnings.append(TaskWarning.model_validate({"code": code, "field": name, "message": message}))

    def take(self, name: SuggestedField, verdict: Verdict, choices: tuple[Coded, ...]) -> None:
        """Keep a verdict that is one of the choices; a model's other words are dropped, and told of."""
        if verdict.value is None:
            return
        chosen = _chosen(verdict.value, choices)
        if chosen is None:
            self.warn("outside_choices", name, "The model's value is not among the choices, and was dropped.")
            return
        proven = self.case.says(verdict.evidence)
        trusted = self._trusted(name, verdict, chosen)
        if not proven:
            self.warn("evidence_not_found", name, "The words that the model quotes are not in the ticket.")
        shared = agreement(self._votes(name, chosen))
        sure = confidence(verdict.confidence, proven=proven, agreement=shared)
        self.suggestions[name] = Suggestion(
            value=chosen.display_value,
            confidence=sure,
            band=band(sure),
            evidence=verdict.evidence[:_LONGEST_EVIDENCE],
            agreement=shared,
            apply=trusted and self._applies(name, chosen, sure),
        )

    def _trusted(self, name: SuggestedField, verdict: Verdict, chosen: Coded) -> bool:
        """Tell whether a verdict may be applied with nobody looking, and say why not."""
        measured = clamped(verdict.confidence) == verdict.confidence
        if not measured:
            self.warn("confidence_clamped", name, "The model's confidence was not between 0 and 1: nothing is applied.")
        claimed = claims(verdict.evidence, name, chosen)
        if claimed:
            message = "The words that the model quotes ask for this value and prove nothing: it is not applied."
            self.warn("evidence_claims", name, message)
        # How a ticket was solved does not stand in its report.
        timely = name != "close_code" or self.case.says_later(verdict.evidence)
        return measured and timely and not claimed

    def _applies(self, name: SuggestedField, chosen: Coded, sure: float) -> bool:
        return self.case.applies(name, _value(self.case.request.ticket, name), chosen, sure)

    def _votes(self, name: SuggestedField, chosen: Coded) -> list[tuple[float, bool]]:
        names = frozenset({chosen.display_value.lower(), chosen.value.lower()} - {""})
        held = [(near.score, _value(near.ticket, name)) for near in self.case.neighbours.nearest]
        return [(score, value.is_any_of(names)) for score, value in held if value.shown]

    def compute_priority(self) -> None:
        """Add the priority of the suggested levels; a level that was not suggested stays what the ticket has."""
        levels = {name: self._level(name) for name in _LEVELLED}
        suggested = [self.suggestions[name] for name in _LEVELLED if name in self.suggestions]
        impact, urgency = levels["impact"], levels["urgency"]
        if not suggested or impact not in LEVELS or urgency not in LEVELS:
            return
        sure = min(each.confidence for each in suggested)
        self.suggestions["priority"] = Suggestion(
            value=PRIORITIES[self.case.triage.matrix.priority(impact, urgency)],
            confidence=sure,
            band=band(sure),
            evidence=f"impact {LEVELS[impact]}, urgency {LEVELS[urgency]}",
            apply=False,
        )

    def _level(self, name: SuggestedField) -> int:
        suggestion = self.suggestions.get(name)
        return level_of(Coded(suggestion.value) if suggestion else _value(self.case.request.ticket, name)) or 0


async def run(case: Case, asker: Asker) -> Found:
    choices = _choices(case)
    answer = await asker.ask(
        CLASSIFICATION, case.material, ClassificationAnswer, schema_of(choices), choices=_listed(choices)
    )
    if answer.model_fields_set.isdisjoint(choices):
        raise AnswerUnusable("The model's answer is about none of the fields that it was asked for.")
    desk = _Desk(case)
    for name, allowed in choices.items():
        verdict: Verdict | None = getattr(answer, name)
        if verdict is not None:
            desk.take(name, verdict, allowed)
    desk.compute_priority()
    if choices.keys() <= set(_LEVELLED):
        message = "The request names no choices, so that there is no suggestion for a field that takes them."
        desk.warnings.append(TaskWarning(code="no_choices", message=message))
    return Found(Findings(suggestions=Suggestions.model_validate(desk.suggestions)), (*desk.warnings, *case.suspicions))


def schema_of(choices: Mapping[SuggestedField, tuple[Coded, ...]]) -> Schema:
    """Return the schema of an answer about exactly these fields."""
    values = _values(choices)
    enums = fitting(values)
    return closed(
        {
            name: closed(
                {
                    "evidence": {"type": "string"},
                    "value": one_of(listed if name in enums else None),
                    "confidence": {"type": "number"},
                }
            )
            for name, listed in values.items()
        }
    )


def _value(ticket: Ticket, name: SuggestedField) -> Coded:
    """Return what a ticket holds in a field; a level in our words, since its label may be in any language."""
    held: Coded = getattr(ticket, name)
    level = level_of(held) if name in _LEVELLED else None
    return held if level not in LEVELS else Coded(LEVELS[level], str(level))


def _choices(case: Case) -> dict[SuggestedField, tuple[Coded, ...]]:
    asked = {name: case.request.choices.of(name) for name in _CHOSEN}
    return {name: allowed for name, allowed in asked.items() if allowed} | dict.fromkeys(_LEVELLED, _LEVEL_CHOICES)


def _values(choices: Mapping[SuggestedField, tuple[Coded, ...]]) -> dict[SuggestedField, list[str]]:
    return {name: [choice.display_value for choice in allowed] for name, allowed in choices.items()}


def _listed(choices: Mapping[SuggestedField, tuple[Coded, ...]]) -> str:
    """Return the choices that do not fit into the schema, for the instructions."""
    values = _values(choices)
    enums = fitting(values)
    lists = (f"{name} takes one of these: {' | '.join(each)}" for name, each in values.items() if name not in enums)
    return "\n".join(lists)


def _chosen(value: str, choices: tuple[Coded, ...]) -> Coded | None:
    sought = " ".join(value.split()).casefold()
    found = (each for each in choices if sought in {each.display_value.casefold(), each.value.casefold()})
    return next(found, None)
