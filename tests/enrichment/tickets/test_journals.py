"""Journals in every form in which they come."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrichment.tickets.journals import JournalEntry, entries, parsed

LOCALES = [
    (
        (
            "2023-12-31 23:18:42 - Beth Anglin (Work notes)\nsecond\n\n"
            "2023-12-30 09:00:00 - Joe Employee (Work notes)\nfirst\n\nafter a blank line\n\n"
        ),
        [("2023-12-30 09:00:00", "Joe Employee"), ("2023-12-31 23:18:42", "Beth Anglin")],
    ),
    (
        (
            "31.12.2023 23:18:42 - Jörg Müßig-Groß (Arbeitsnotizen)\nsecond\n\n"
            "30.12.2023 09:00:00 - Zoë O'Neil (Arbeitsnotizen)\nfirst\n\nafter a blank line\n\n"
        ),
        [("30.12.2023 09:00:00", "Zoë O'Neil"), ("31.12.2023 23:18:42", "Jörg Müßig-Groß")],
    ),
    (
        (
            "12/31/2023 11:18:42 PM - Ann Lee (Contractor) (Work notes)\nsecond\n\n"
            "12/31/2023 11:00:00 AM - Joe - Desk 2 (Work notes)\nfirst\n\nafter a blank line\n\n"
        ),
        [("12/31/2023 11:00:00 AM", "Joe - Desk 2"), ("12/31/2023 11:18:42 PM", "Ann Lee (Contractor)")],
    ),
    (
        (
            "31/12/2023 23h18 - Hélène Côté (Notes de travail)\nsecond\n\n"
            "05/12/2023 09h00 - Jean (Notes de travail)\nfirst\n\nafter a blank line\n\n"
        ),
        [("05/12/2023 09h00", "Jean"), ("31/12/2023 23h18", "Hélène Côté")],
    ),
    (
        (
            "2023-12-31 23:18:42 JST - 山田太郎\uff08作業メモ\uff09\nsecond\n\n"
            "2023/12/30 09:00 - 鈴木 (作業メモ)\nfirst\n\nafter a blank line\n\n"
        ),
        [("2023/12/30 09:00", "鈴木"), ("2023-12-31 23:18:42 JST", "山田太郎")],
    ),
    (
        (
            "2023-12-31 23:18:42 -  (Work notes)\nsecond\n\n"
            "2023-12-30 09:00:00 - (Work notes)\nfirst\n\nafter a blank line\n\n"
        ),
        [("2023-12-30 09:00:00", ""), ("2023-12-31 23:18:42", "")],
    ),
]


@pytest.mark.parametrize(("text", "heads"), LOCALES)
def test_a_journal_as_one_string(text: str, heads: list[tuple[str, str]]) -> None:
    """Entries are told by their headers in any locale, blank lines stay inside, the oldest comes first."""
    found = parsed(text, "work_notes")
    assert [(entry.sys_created_on, entry.sys_created_by) for entry in found] == heads
    assert [entry.value for entry in found] == ["first\n\nafter a blank line", "second"]
    assert {entry.element for entry in found} == {"work_notes"}


@pytest.mark.parametrize(
    "text",
    [
        "Called the user - no answer (voicemail).",
        "Meeting 2023-12-31 - everybody (all)",
        "see below\n2023-12-31 23:18:42 - Beth (Work notes)\nquoted inside a paragraph",
        "12 - 5 (seven)",
    ],
)
def test_an_unknown_shape_is_one_entry(text: str) -> None:
    """What has no header is one entry, also where a line inside a paragraph looks like one."""
    assert parsed(text, "comments") == (JournalEntry("comments", text),)


@pytest.mark.parametrize("form", [None, "", " \n\n", [], [None, ""], {"display_value": ""}])
def test_an_empty_journal(form: Any) -> None:
    """Nothing, in whichever form, is no entries."""
    assert entries(form, "comments") == ()


def test_rows_of_the_journal_table() -> None:
    """Rows come in any order, and are ordered by their times; null ones are left out."""
    rows = [
        {"element": "work_notes", "value": "two", "sys_created_on": "2023-12-31 10:00:00", "sys_created_by": "beth"},
        None,
        {"element": "comments", "value": "one", "sys_created_on": "2023-12-30 10:00:00", "sys_created_by": "joe"},
    ]
    assert entries(rows, "work_notes") == (
        JournalEntry("comments", "one", "2023-12-30 10:00:00", "joe"),
        JournalEntry("work_notes", "two", "2023-12-31 10:00:00", "beth"),
    )


def test_rows_with_both_values() -> None:
    """Of a row that `sysparm_display_value=all` gave, what the table holds is read."""
    row = {
        "element": {"display_value": "work_notes", "value": "work_notes"},
        "value": {"display_value": "one", "value": "one"},
        "sys_created_on": {"display_value": "31.12.2023 11:00:00", "value": "2023-12-31 10:00:00"},
        "sys_created_by": {"display_value": "beth", "value": "beth"},
    }
    assert entries([row], "comments") == (JournalEntry("work_notes", "one", "2023-12-31 10:00:00", "beth"),)


def test_strings_in_an_array_keep_their_order() -> None:
    """Without times the caller's order stands."""
    assert [entry.value for entry in entries(["b", {"value": "a"}], "comments")] == ["b", "a"]


@pytest.mark.parametrize("form", [5, [5], [["nested"]], {"display_value": 5}, [{"value": 5}]])
def test_other_forms_are_given_back(form: Any) -> None:
    """What is no journal is left for validation to refuse."""
    assert entries(form, "comments") is form


def test_both_journals_in_one_string_are_parted_by_their_labels() -> None:
    """Known labels say which journal an entry is of; an unknown one leaves that open."""
    text = (
        "2023-12-31 10:00:03 - A (Work notes)\nthree\n\n2023-12-31 10:00:02 - A (Zusätzliche Kommentare)\ntwo\n\n"
        "2023-12-31 10:00:01 - A (Muistiinpanot)\none\n\n"
    )
    found = entries(text, "comments_and_work_notes")
    assert [(entry.element, entry.value) for entry in found] == [
        ("comments_and_work_notes", "one"),
        ("comments", "two"),
        ("work_notes", "three"),
    ]


def test_markup_in_an_entry_goes() -> None:
    """HTML between [code] marks becomes its text."""
    text = "2023-12-31 10:00:00 - A (Work notes)\n[code]<p>Ticket&nbsp;<a href='x'>INC7</a></p>[/code] done\n\n"
    assert parsed(text, "work_notes")[0].value == "Ticket INC7\ndone"


@given(st.text(max_size=400))
def test_no_text_is_lost_or_breaks_anything(text: str) -> None:
    """Any text can be parsed, and what was parsed reads the same again."""
    for entry in parsed(text, "comments"):
        assert entry.value == entry.value.strip() != ""


def test_a_large_journal_is_parsed_in_no_time() -> None:
    """A megabyte of what nearly is a header, a tag or a reference costs less than the timeout by far."""
    parsed("2023-12-31 10:00:00 - A (" * 40_000, "comments")
    parsed("\n\n2023-12-31 10:00:00 - A (Work notes" * 25_000, "comments")
    parsed("<script>&#x" * 100_000, "comments")
