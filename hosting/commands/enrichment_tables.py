"""What came of tickets, as a person reads it in a terminal."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

type Json = Mapping[str, Any]

_BANDS: Final = {"High": "green", "Medium": "yellow", "Low": "red"}
_COLUMNS: Final = ("category", "subcategory", "assignment_group", "impact", "urgency", "priority")
_TEXTS: Final = {
    "resolution_notes": ("text",),
    "knowledge_article": ("title", "symptoms", "cause", "resolution"),
    "reply": ("text",),
}
_PARTS: Final = {"issue": "Issue", "actions_taken": "Actions taken", "resolution": "Resolution"}


def ticket_view(name: str, answer: Json) -> RenderableType:
    """Return everything that came of one ticket."""
    parts: list[RenderableType] = [Text(name, style="bold")]
    parts += [Padding(part, (0, 0, 0, 2)) for part in (_suggestions(answer["suggestions"]), *_findings(answer))]
    return Group(*parts, Text(_footing([answer]), style="dim"))


def tickets_table(answers: Iterable[tuple[str, Json | None, str]]) -> RenderableType:
    """Return a line for each ticket: its name, its answer or None, and the error in its place."""
    table = Table(box=box.SIMPLE_HEAD)
    shown = list(answers)
    used = [
        name for name in _COLUMNS if any(name in answer["suggestions"] for _, answer, _ in shown if answer is not None)
    ]
    for heading in ("ticket", *used, "cost", "failed"):
        table.add_column(heading.replace("_", " "), overflow="fold")
    for name, answer, error in shown:
        if answer is None:
            table.add_row(Text(name), *[""] * (len(used) + 1), Text(error, style="red"))
        else:
            cells = [_value(answer["suggestions"].get(field)) for field in used]
            table.add_row(Text(name), *cells, _money(answer["cost"]), Text(", ".join(failures(answer))))
    done = [answer for _, answer, _ in shown if answer is not None]
    return Group(table, Text(f"{len(done)} of {len(shown)} tickets. {_footing(done)}", style="dim"))


def failures(answer: Json) -> list[str]:
    """Return the tasks that failed, with the code of their error."""
    return [f"{task['name']}: {_error(task)['code']}" for task in answer["tasks"] if task["status"] == "failed"]


def _suggestions(suggestions: Json) -> RenderableType:
    if not suggestions:
        return Text("No suggestions.", style="dim")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("field", "suggestion", "confidence", "in the patch", "evidence"):
        table.add_column(heading, overflow="fold")
    for field, each in suggestions.items():
        confidence = Text(f"{each['confidence']:.2f} {each['band']}", style=_BANDS.get(each["band"], ""))
        table.add_row(
            field.replace("_", " "),
            Text(each["value"]),
            confidence,
            "yes" if each["apply"] else "no",
            Text(each["evidence"], style="dim"),
        )
    return table


def _findings(answer: Json) -> Iterable[RenderableType]:
    if summary := answer.get("summary"):
        yield from (_paragraph(title, summary[part]) for part, title in _PARTS.items() if summary[part])
    if sentiment := answer.get("sentiment"):
        yield _paragraph("Sentiment", f"{sentiment['value']}, {sentiment['trend']}: {sentiment['reason']}")
    yield from _lists(answer)
    for part, fields in _TEXTS.items():
        if found := answer.get(part):
            yield _paragraph(part.replace("_", " ").capitalize(), "\n".join(found[field] for field in fields))
    for task in answer["tasks"]:
        if task["status"] == "failed":
            yield Text(f"{task['name']} failed: {_error(task)['message']}", style="red")
        for warning in task.get("warnings", ()):
            yield Text(f"{task['name']}: {warning['message']}", style="yellow")


def _lists(answer: Json) -> Iterable[RenderableType]:
    if entities := answer.get("entities"):
        yield _paragraph("Entities", ", ".join(f"{each['value']} ({each['kind']})" for each in entities))
    for number, each in enumerate(answer.get("next_steps") or (), 1):
        yield _paragraph(f"Next {number}", each["step"])
    for each in (answer.get("similar") or {}).get("tickets", ()):
        yield _paragraph("Similar", f"{each['number']} {each['short_description']} ({each['score']:.2f})")


def _paragraph(title: str, text: str) -> RenderableType:
    line = Table.grid(padding=(0, 2))
    line.add_column(style="bold", no_wrap=True)
    line.add_column(overflow="fold")
    line.add_row(title, Text(text))
    return line


def _value(suggestion: Json | None) -> Text:
    if suggestion is None:
        return Text("-", style="dim")
    return Text(suggestion["value"], style=_BANDS.get(suggestion["band"], ""))


def _error(task: Json) -> Json:
    found: Json = task.get("error") or {"code": "failed", "message": "It gave no reason."}
    return found


def _footing(answers: Iterable[Json]) -> str:
    found = list(answers)
    tokens = sum(answer["usage"]["total_tokens"] for answer in found)
    unpriced = sum(answer["cost"] is None for answer in found)
    cost = sum((Decimal(answer["cost"]) for answer in found if answer["cost"] is not None), Decimal(0))
    return f"{tokens:,} tokens, {cost:.6f} USD at list prices" + (f", {unpriced} not priced" if unpriced else "")


def _money(cost: str | None) -> str:
    return "" if cost is None else f"{Decimal(cost):.6f}"
