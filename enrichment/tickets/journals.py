"""Journals: what people wrote into `work_notes` and `comments`, entry by entry.

The Table API gives a journal as one string (`sysparm_display_value=true`), newest entry first, each as

    2018-12-12 23:18:42 - System Administrator (Work notes)
    text, which may hold blank lines

Date format, zone and label follow the caller's locale, so an entry is told by its header's shape: a date, a time, a
name, a label in brackets, at the beginning or after a blank line. Text of an unknown shape is one entry. Rows of the
table `sys_journal_field` come as objects with `element`, `value`, `sys_created_on` and `sys_created_by`, each a string
or `{display_value, value}`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from enrichment.calls.fence import visible
from enrichment.tickets.markup import plain

_HEADER: Final = re.compile(
    r"(?P<time>\d{1,4}[-./]\d{1,2}[-./]\d{1,4}\.?,?[ T]\s?[^\d()\n]{0,12}\d{1,2}[:.h]\d{2}(?:[:.]\d{2})?[^()\n]{0,14}?)"
    r" - (?P<author>[^\n]{0,120}?)\s?[(\uff08](?P<label>[^()\uff08\uff09\n]{1,60})[)\uff09]\s*"
)
_LONGEST_HEADER: Final = 250
COMBINED: Final = "comments_and_work_notes"
_LABELS: Final = {
    label: element
    for element, labels in {
        "work_notes": ("work notes", "arbeitsnotizen", "notes de travail", "notas de trabajo", "作業メモ"),
        "comments": (
            "additional comments", "zusätzliche kommentare", "commentaires supplémentaires",
            "comentarios adicionales", "追加コメント",
        ),
    }.items()
    for label in labels
}  # fmt: skip
_NUMBERS: Final = re.compile(r"\d+")
_AFTERNOON: Final = re.compile(r"\bp\.?\s?m\b|午後|下午|오후", re.IGNORECASE)
_HALF_DAY: Final = re.compile(r"\b[ap]\.?\s?m\b|午前|午後|上午|下午|오전|오후", re.IGNORECASE)
_INTERNAL_TIME: Final = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}")


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One entry, by the names of `sys_journal_field`; time and author as they came, "" where they are unknown.

    `element` is the journal's name; in both journals as one string, of the one that the header's label names, where it
    is known.
    """

    element: str
    value: str
    sys_created_on: str = ""
    sys_created_by: str = ""


def entries(given: Any, element: str) -> Any:
    """Return a journal in any of its forms as a tuple of entries, oldest first; what is none of them as it came."""
    match given:
        case None:
            return ()
        case str(text):
            return parsed(text, element)
        case {"display_value": str(text)} | {"value": str(text)} if "element" not in given:
            return parsed(text, element)
        case list() | tuple():
            rows = [_row(row, element) for row in given]
            return _in_order([row for row in rows if row.value]) if all(_known(row) for row in rows) else given
        case _:
            return given


def parsed(text: str, element: str) -> tuple[JournalEntry, ...]:
    """Return the entries of a journal that came as one string, oldest first."""
    found: list[JournalEntry] = []
    lines: list[str] = []
    head = JournalEntry(element, "")
    blank = True
    for line in visible(text).split("\n"):
        header = _HEADER.fullmatch(line.strip()) if blank and len(line) <= _LONGEST_HEADER else None
        if header is None:
            lines.append(line)
        else:
            found.append(_whole(head, lines))
            lines = []
            head = JournalEntry(_kind(element, header["label"]), "", header["time"].strip(), header["author"].strip())
        blank = header is not None or not line.strip()
    found.append(_whole(head, lines))
    return _in_order([entry for entry in found if entry.value])


def _kind(element: str, label: str) -> str:
    return _LABELS.get(label.strip().casefold(), element) if element == COMBINED else element


def _whole(head: JournalEntry, lines: Sequence[str]) -> JournalEntry:
    return replace(head, value=text_of("\n".join(lines)))


def text_of(text: str) -> str:
    """Return what a field shows: no markup, nothing invisible, neither blank ends nor indented lines."""
    shown = visible(plain(visible(text)))
    return "\n".join(" ".join(line.split()) for line in shown.split("\n")).strip()


def _row(row: Any, element: str) -> Any:
    row = _flat(row)
    match row:
        case JournalEntry():
            return row
        case None:
            return JournalEntry(element, "")
        case str(text):
            return JournalEntry(element, text_of(text))
        case {"value": str(text)} | {"display_value": str(text)}:
            return JournalEntry(
                _field(row, "element") or element,
                text_of(text),
                _field(row, "sys_created_on"),
                _field(row, "sys_created_by"),
            )
        case _:
            return row


def _flat(row: Any) -> Any:
    """Return a row with what the table holds, where `sysparm_display_value=all` gave each field in two ways."""
    if not isinstance(row, Mapping):
        return row
    return {
        name: field.get("value", field.get("display_value")) if isinstance(field, Mapping) else field
        for name, field in row.items()
    }


def _known(row: Any) -> bool:
    return isinstance(row, JournalEntry)


def _field(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    return visible(value).strip()[:120] if isinstance(value, str) else ""


def _in_order(found: Sequence[JournalEntry]) -> tuple[JournalEntry, ...]:
    """Return entries oldest first: by their times where those can be compared, else as the Table API orders them."""
    times = [entry.sys_created_on for entry in found]
    if found and all(_INTERNAL_TIME.fullmatch(time) for time in times):
        return tuple(sorted(found, key=lambda entry: entry.sys_created_on))
    dates = [_numbers(entry.sys_created_on) for entry in (found[0], found[-1])] if len(found) > 1 else []
    if not all(dates):
        dates = []
    day_first = _day_first([_numbers(time) for time in times])
    ends = [_comparable(numbers, day_first=day_first) for numbers in dates]
    newest_first = ends[0] >= ends[1] if ends else bool(found and times[0])
    return tuple(reversed(found)) if newest_first else tuple(found)


def _numbers(time: str) -> list[int]:
    """Return a time's numbers, the hour in 24; [] where they are no date and time."""
    numbers = [int(number) for number in _NUMBERS.findall(time)]
    if len(numbers) < 5:
        return []
    if _HALF_DAY.search(time):
        numbers[3] = numbers[3] % 12 + (12 if _AFTERNOON.search(time) else 0)
    return numbers


def _day_first(dates: Sequence[Sequence[int]]) -> bool:
    """Tell 31.12.2023 from 12/31/2023 by the numbers over 12 in all of a journal's dates; day first where none is."""
    return any(numbers[0] > 12 for numbers in dates if numbers) or all(numbers[1] <= 12 for numbers in dates if numbers)


def _comparable(numbers: Sequence[int], *, day_first: bool) -> tuple[int, ...]:
    first, second, third, *time = numbers
    if first >= 1000:
        return (first, second, third, *time)
    return (third, second, first, *time) if day_first else (third, first, second, *time)
