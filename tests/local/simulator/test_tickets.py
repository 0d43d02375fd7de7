"""What the simulated model says of tickets whose parts have names."""

import json
from typing import Any

from jsonschema import validate

from local.simulator.replies import Wish, compose
from local.simulator.schemas import conforming
from local.simulator.tokens import Message, Tokenizer

TICKET = """[short_description]
Email server is down
[description]
Nobody in building 3 can send mail through MX-BER-02.
[work_notes-1] 2023-07-11 16:41:33, Beth
The server ran out of memory.
[comments-1] 2023-07-11 17:00:00, Joe
This is the third time, and still not solved!
[work_notes-2] 2023-07-12 09:00:00, Beth
Restarted the mail service. It was caused by a full disk.
"""
STRING = {"type": "string"}


def closed(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object", "properties": properties, "required": list(properties), "additionalProperties": False
    }  # fmt: skip


SENTENCES = {"type": "array", "items": closed(entries={"type": "array", "items": STRING}, sentence=STRING)}


def said(schema: dict[str, Any], text: str = TICKET) -> Any:
    value = conforming(schema, text)
    validate(value, schema)
    return value


def test_sentences_are_cited_where_they_stand() -> None:
    """What is wrong comes from the fields, what was done from the journals, what solved it from what says so."""
    answer = said(closed(issue=SENTENCES, actions_taken=SENTENCES, resolution=SENTENCES, cause=SENTENCES))
    assert answer["issue"][0] == {"entries": ["short_description"], "sentence": "Email server is down"}
    assert {name for each in answer["actions_taken"] for name in each["entries"]} == {
        "work_notes-1", "comments-1", "work_notes-2"
    }  # fmt: skip
    assert {"entries": ["work_notes-2"], "sentence": "Restarted the mail service."} in answer["resolution"]
    assert answer["cause"] == [{"entries": ["work_notes-2"], "sentence": "It was caused by a full disk."}]


def test_a_verdict_is_one_of_the_choices_with_words_that_decide() -> None:
    """Topics of a choice count beside its own words; where nothing speaks for any, there is none."""
    value = {"anyOf": [{"type": "string", "enum": ["Hardware", "Email", "Database"]}, {"type": "null"}]}
    schema = closed(evidence=STRING, value=value, confidence={"type": "number"})
    verdict = said(schema)
    assert verdict["value"] == "Email"
    assert verdict["evidence"] in TICKET
    nothing = {"anyOf": [{"type": "string", "enum": ["Facilities", "Payroll"]}, {"type": "null"}]}
    assert said(closed(evidence=STRING, value=nothing, confidence={"type": "number"}))["value"] is None


def test_a_verdict_without_a_list_of_choices_is_none() -> None:
    """Where the instructions alone name the choices, the simulated model, which does not read them, abstains."""
    value = {"anyOf": [STRING, {"type": "null"}]}
    assert said(closed(evidence=STRING, value=value, confidence={"type": "number"}))["value"] is None


def test_lists_of_names_are_filled_from_the_ticket() -> None:
    """Keywords are its words, entries its parts."""
    names = {"type": "array", "items": STRING}
    answer = said(closed(entries=names, keywords=names, text=STRING))
    assert answer["entries"] == ["short_description"]
    assert set(answer["keywords"]) <= set(TICKET.lower().split())
    assert answer["text"].startswith("Hello")


def test_levels_go_by_what_is_affected_not_by_numbers() -> None:
    """A server that nobody can use is of high impact, on whichever floor it stands."""
    level = {"anyOf": [{"type": "string", "enum": ["1 - High", "2 - Medium", "3 - Low"]}, {"type": "null"}]}
    assert said(closed(evidence=STRING, value=level, confidence={"type": "number"}))["value"] == "1 - High"


def test_moods_are_told() -> None:
    """Impatience is negative, and a calm ticket is neutral."""
    mood = closed(
        evidence=STRING,
        reason=STRING,
        value={"type": "string", "enum": ["positive", "neutral", "negative"]},
        trend={"type": "string", "enum": ["improving", "steady", "worsening", "unknown"]},
        confidence={"type": "number"},
    )
    assert said(mood)["value"] == "negative"
    assert said(mood, "[description]\nA printer needs paper.")["value"] == "neutral"


def test_named_things_stand_in_the_ticket() -> None:
    """Entities are names with their part, not sentences."""
    thing = closed(entry=STRING, kind={"type": "string", "enum": ["server", "other"]}, value=STRING)
    assert said(closed(entities={"type": "array", "items": thing}))["entities"] == [
        {"entry": "description", "kind": "other", "value": "MX-BER-02"}
    ]


def test_a_ticket_without_sentences_is_answered() -> None:
    """A part that says nothing gives empty lists and texts, and conforms."""
    answer = said(closed(issue=SENTENCES, title=STRING, text=STRING), "[description]\n...")
    assert answer["issue"] == []


def test_a_datamarked_ticket_is_read_through_its_fence(tokenizer: Tokenizer) -> None:
    """Signs in the place of spaces and at the beginning of lines are no part of what is said."""
    marked = "\n".join(line if line.startswith("[") else "^" + line.replace(" ", "^") for line in TICKET.splitlines())
    schema = closed(issue=SENTENCES)
    wish = Wish([Message("user", f"<ticket-5f>\n{marked}\n</ticket-5f>")], schema=schema)
    issue = json.loads(compose(wish, "gpt-4o", tokenizer).text)["issue"]
    assert [each["sentence"] for each in issue] == [
        "Email server is down", "Nobody in building 3 can send mail through MX-BER-02."
    ]  # fmt: skip
    plain = compose(Wish([Message("user", f"<ticket-5f>\n{marked}\n</ticket-5f>")]), "gpt-4o", tokenizer)
    assert "[" not in plain.text
    assert "^" not in plain.text
