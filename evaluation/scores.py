"""What the answers are worth. Pure.

A suggestion is right where it is the label, in any case and spacing. *Accuracy* is the share of labelled tickets that
got the right value, so that saying nothing counts as wrong; *precision* is the share of suggestions that are right;
*coverage* is the share of labelled tickets that got any.
*Most frequent* is what answering the commonest label every time would reach: a model below it is worth nothing.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from evaluation.labelled import Labelled

BANDS: Final = ("High", "Medium", "Low")

type Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """An incident, what /enrich answered and after how many seconds; None and the error where it did not."""

    incident: Labelled
    answer: Json | None
    seconds: float
    error: str = ""


@dataclass(frozen=True, slots=True)
class BandScore:
    """`suggested` is how many suggestions are of this band, `right` how many of them are right."""

    band: str
    suggested: int
    right: int

    @property
    def precision(self) -> float | None:
        return _share(self.right, self.suggested)


@dataclass(frozen=True, slots=True)
class FieldScore:
    field: str
    labelled: int
    bands: tuple[BandScore, ...]
    most_frequent: float
    mistakes: tuple[tuple[str, str, int], ...]
    """Label, wrong suggestion, how often; the most frequent first."""

    @property
    def suggested(self) -> int:
        return sum(each.suggested for each in self.bands)

    @property
    def right(self) -> int:
        return sum(each.right for each in self.bands)

    @property
    def accuracy(self) -> float | None:
        return _share(self.right, self.labelled)

    @property
    def precision(self) -> float | None:
        return _share(self.right, self.suggested)

    @property
    def coverage(self) -> float | None:
        """Return the share of labelled tickets that got a suggestion at all."""
        return _share(self.suggested, self.labelled)


@dataclass(frozen=True, slots=True)
class Expense:
    """Of one ticket, on average. `cost` is US dollars at list prices, None where a model has none."""

    cost: Decimal | None
    tokens: float
    p50_seconds: float
    p95_seconds: float


@dataclass(frozen=True, slots=True)
class Scores:
    fields: tuple[FieldScore, ...]
    expense: Expense | None
    models: tuple[str, ...]
    prompts: tuple[str, ...]
    tickets: int
    errors: tuple[tuple[str, int], ...]


def score(outcomes: Sequence[Outcome], fields: Sequence[str]) -> Scores:
    """Return the scores of the fields that have labels; a ticket without an answer counts as one without values."""
    answered = [outcome for outcome in outcomes if outcome.answer is not None]
    tasks = [task for outcome in answered for task in (outcome.answer or {})["tasks"]]
    failed = [task["error"]["code"] for task in tasks if task["status"] == "failed"]
    errors = Counter([*(outcome.error for outcome in outcomes if outcome.answer is None), *failed])
    return Scores(
        fields=tuple(
            _field(field, outcomes) for field in fields if any(field in each.incident.labels for each in outcomes)
        ),
        expense=_expense(answered) if answered else None,
        models=tuple(sorted({task["model"] for task in tasks if task.get("model")})),
        prompts=tuple(sorted({task["prompt"] for task in tasks if task.get("prompt")})),
        tickets=len(outcomes),
        errors=tuple(errors.most_common()),
    )


def is_label(value: str, label: str) -> bool:
    """Tell whether a suggestion is the label; a level may be written `1` or `1 - High`."""
    said, wanted = " ".join(value.split()).casefold(), " ".join(label.split()).casefold()
    return said == wanted or (wanted.isdecimal() and said.partition(" - ")[0] == wanted)


def percentile(values: Iterable[float], share: float) -> float:
    """Return the smallest value that at least this share of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _field(field: str, outcomes: Iterable[Outcome]) -> FieldScore:
    suggested: Counter[str] = Counter()
    right: Counter[str] = Counter()
    labels: Counter[str] = Counter()
    mistakes: Counter[tuple[str, str]] = Counter()
    for outcome in outcomes:
        label = outcome.incident.labels.get(field)
        if label is None:
            continue
        labels[label.casefold()] += 1
        suggestion = (outcome.answer or {}).get("suggestions", {}).get(field)
        if suggestion is None:
            continue
        suggested[suggestion["band"]] += 1
        if is_label(suggestion["value"], label):
            right[suggestion["band"]] += 1
        else:
            mistakes[label, suggestion["value"]] += 1
    return FieldScore(
        field=field,
        labelled=labels.total(),
        bands=tuple(BandScore(band, suggested[band], right[band]) for band in BANDS),
        most_frequent=max(labels.values()) / labels.total(),
        mistakes=tuple((*pair, count) for pair, count in mistakes.most_common()),
    )


def _expense(answered: Sequence[Outcome]) -> Expense:
    answers = [outcome.answer or {} for outcome in answered]
    costs = [answer["cost"] for answer in answers]
    known = None if None in costs else sum(map(Decimal, costs), Decimal(0))
    seconds = [outcome.seconds for outcome in answered]
    return Expense(
        cost=None if known is None else known / len(answers),
        tokens=sum(answer["usage"]["total_tokens"] for answer in answers) / len(answers),
        p50_seconds=percentile(seconds, 0.5),
        p95_seconds=percentile(seconds, 0.95),
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
