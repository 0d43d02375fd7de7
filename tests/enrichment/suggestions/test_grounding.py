"""What stays of sentences that cite parts of a ticket."""

import pytest

from enrichment.answers.findings import Citation
from enrichment.case import case_of
from enrichment.requests.requests import EnrichRequest
from enrichment.suggestions.grounding import Sentence, cited, grounded, joined
from enrichment.suggestions.triage import TriageRules
from enrichment.tickets.ticket import Ticket

NAMES = frozenset({"description", "work_notes-1", "comments-12"})


def test_sentences_without_a_known_entry_are_dropped() -> None:
    """What cites nothing goes silently told; what cites something unknown is flagged as such."""
    sentences = [
        Sentence(entries=["description"], sentence="Kept."),
        Sentence(entries=[], sentence="Dropped."),
        Sentence(entries=["work_notes-9"], sentence="Dropped, too."),
        Sentence(entries=["work_notes-1", "work_notes-9"], sentence="Kept  with\nwhat exists."),
        Sentence(entries=["description"], sentence=" "),
    ]
    kept, warnings = grounded(sentences, NAMES)
    assert kept == (
        Citation(sentence="Kept.", entries=("description",)),
        Citation(sentence="Kept with what exists.", entries=("work_notes-1",)),
    )
    assert {warning.code for warning in warnings} == {"sentence_not_grounded", "unknown_entry"}


@pytest.mark.parametrize(
    ("entries", "known", "others"),
    [
        (["[work_notes-1]", "Description"], ("work_notes-1", "description"), False),
        (["work_notes-1, comments-12"], ("work_notes-1", "comments-12"), False),
        (["comments-1"], (), True),
        (["17"], (), True),
        ([], (), False),
    ],
)
def test_names_of_entries_are_read_leniently(entries: list[str], known: tuple[str, ...], others: bool) -> None:
    """Brackets, case and lists in one string are forgiven; a name that is not there is not."""
    assert cited(entries, NAMES) == (known, others)


@pytest.mark.parametrize(
    ("quote", "found"),
    [("the  SERVER, down", True), ("erver", False), ("", False), ("...", False), ("down again", False)],
)
def test_quotations_are_found_by_their_words(quote: str, found: bool) -> None:
    """Whatever stands between the words is the same; half a word is none, and nothing is no quotation."""
    ticket = Ticket(description="All of the server 'down' today.")
    assert case_of(EnrichRequest(ticket=ticket), TriageRules()).says(quote) is found


def test_sentences_are_joined_with_their_ends() -> None:
    """A sentence without a full stop gets one, after quotation marks as well, but not in scripts that write another."""
    sentences = ["It 'burns'", "Since when?", "\u71c3\u3048\u3066\u3044\u307e\u3059", '"Out."']
    citations = [Citation(sentence=sentence, entries=("description",)) for sentence in sentences]
    assert joined(citations) == "It 'burns'. Since when? \u71c3\u3048\u3066\u3044\u307e\u3059 \"Out.\""
