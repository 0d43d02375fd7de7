"""The scores as tables for people and as JSON for programs."""

import dataclasses
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from evaluation.scores import FieldScore, Scores

SIMULATED = (
    "These answers were made up by the demo's simulated backends, which match words and understand nothing. The "
    "figures prove that the machinery works, from the labels to the bill; they say nothing about any model. Set "
    "GATEWAY_CATALOG and TOLLGATE_KEY, or --url, to score a real one."
)
_MISTAKES = 5


def print_tables(console: Console, scores: Scores, *, simulated: bool) -> None:
    models, prompts = (", ".join(each) or "none" for each in (scores.models, scores.prompts))
    title = f"{scores.tickets} tickets; model {models}; instructions {prompts}"
    console.print(title, markup=False, highlight=False)
    console.print(_fields(scores))
    console.print(_bands(scores))
    for line in _lines(scores):
        console.print(line, markup=False, highlight=False)
    if simulated:
        console.print(SIMULATED, style="yellow")


def as_json(scores: Scores, *, simulated: bool) -> dict[str, Any]:
    """Return all figures; shares between 0 and 1, None where there was nothing to take a share of."""
    return {
        "simulated": simulated,
        "tickets": scores.tickets,
        "models": list(scores.models),
        "prompts": list(scores.prompts),
        "fields": [_field(each) for each in scores.fields],
        "per_ticket": _plain(dataclasses.asdict(scores.expense)) if scores.expense else None,
        "errors": dict(scores.errors),
    }


def _fields(scores: Scores) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("field")
    for heading in ("labelled", "coverage", "accuracy", "precision", "most frequent"):
        table.add_column(heading, justify="right")
    for each in scores.fields:
        table.add_row(
            each.field.replace("_", " "),
            str(each.labelled),
            _percent(each.coverage),
            _percent(each.accuracy),
            _percent(each.precision),
            _percent(each.most_frequent),
        )
    return table


def _bands(scores: Scores) -> Table:
    """Return for each field the share of labelled tickets in a band, and how many of these are right."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("coverage / precision")
    bands = scores.fields[0].bands if scores.fields else ()
    for band in bands:
        table.add_column(band.band, justify="right")
    for each in scores.fields:
        cells = [
            f"{_percent(band.suggested / each.labelled)} / {_percent(band.precision)}" if band.suggested else "-"
            for band in each.bands
        ]
        table.add_row(each.field.replace("_", " "), *cells)
    return table


def _lines(scores: Scores) -> Iterator[str]:
    expense = scores.expense
    if expense is not None:
        cost = "no list price" if expense.cost is None else f"{expense.cost:.6f} USD at list prices"
        yield (
            f"A ticket: {cost}, {expense.tokens:,.0f} tokens, {expense.p50_seconds:.2f} s "
            f"(95% within {expense.p95_seconds:.2f} s)"
        )
    for each in scores.fields:
        told = [f"{label} -> {value} ({count})" for label, value, count in each.mistakes[:_MISTAKES]]
        if told:
            yield f"Mistakes in {each.field.replace('_', ' ')}: {'; '.join(told)}"
    for code, count in scores.errors:
        yield f"Failed: {count} x {code}"


def _field(each: FieldScore) -> dict[str, Any]:
    derived = {name: getattr(each, name) for name in ("suggested", "right", "coverage", "accuracy", "precision")}
    bands = [dataclasses.asdict(band) | {"precision": band.precision} for band in each.bands]
    mistakes = [{"label": label, "value": value, "count": count} for label, value, count in each.mistakes]
    return dataclasses.asdict(each) | derived | {"bands": bands, "mistakes": mistakes}


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: f"{value:f}" if isinstance(value, Decimal) else value for name, value in values.items()}


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"
