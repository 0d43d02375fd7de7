"""Schemas in the subset that Azure OpenAI takes for strict structured output."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from enrichment.calls import digest
from enrichment.calls.schemas import MAX_ENUM_CHARACTERS, MAX_ENUM_VALUES, Schema, fitting, one_of
from enrichment.tasks import (
    classification,
    entities,
    knowledge_article,
    next_steps,
    reply,
    resolution_notes,
    sentiment,
    summary,
)  # fmt: skip
from enrichment.tickets.ticket import Coded

KEYWORDS = {"type", "properties", "required", "additionalProperties", "items", "enum", "anyOf", "description", "const"}
"""What strict mode takes (Microsoft Learn, "Structured outputs"), less what we do not need."""

SCHEMAS: dict[str, Schema] = {
    module.__name__: module.SCHEMA
    for module in (summary, sentiment, entities, next_steps, resolution_notes, knowledge_article, reply, digest)
} | {"classification": classification.schema_of({"category": (Coded("A"), Coded("B")), "impact": (Coded("1 - High"),)})}


def nodes(schema: Mapping[str, Any], depth: int = 1) -> Iterator[tuple[Mapping[str, Any], int]]:
    yield schema, depth
    for each in schema.get("properties", {}).values():
        yield from nodes(each, depth + 1)
    for each in (schema.get("items"), *schema.get("anyOf", ())):
        if each is not None:
            yield from nodes(each, depth + 1)


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_keeps_to_the_strict_subset(name: str) -> None:
    """Closed objects, every property required, no keyword that Azure refuses, five levels at most."""
    schema = SCHEMAS[name]
    Draft202012Validator.check_schema(schema)
    assert schema["type"] == "object"
    for node, depth in nodes(schema):
        assert node.keys() <= KEYWORDS
        assert depth <= 5
        if node.get("type") == "object":
            assert node["additionalProperties"] is False
            assert node["required"] == list(node["properties"])


@pytest.mark.parametrize("name", SCHEMAS)
def test_evidence_comes_before_what_it_decides(name: str) -> None:
    """A model writes properties in order: what a thing rests on first, then the thing."""
    for node, _ in nodes(SCHEMAS[name]):
        order = list(node.get("properties", ()))
        for first in ("evidence", "entries", "entry"):
            if first in order:
                assert order[0] == first


def test_a_schema_takes_no_more_values_than_azure_does() -> None:
    """The shortest lists go into the schema; what is over the bounds of all together is left to the instructions."""
    few, many = ["a", "b"], [str(number) for number in range(MAX_ENUM_VALUES)]
    assert fitting({"group": many, "category": few}) == {"category"}
    assert fitting({"group": many[:-2], "category": few}) == {"category", "group"}
    assert fitting({"group": ["x" * MAX_ENUM_CHARACTERS], "category": few}) == {"category"}


def test_one_of() -> None:
    """One of the values, or any where they do not fit, and always null: a ticket may decide nothing."""
    assert one_of(["a"]) == {"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "null"}]}
    assert one_of(None) == {"anyOf": [{"type": "string"}, {"type": "null"}]}
