from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import validate

from local.simulator.schemas import conforming

TEXT = "The printer on floor 2 is broken. Users in Berlin cannot print since Monday. High impact."


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False},
        {"type": "array", "items": {"type": "integer", "minimum": 5, "maximum": 9}, "minItems": 3},
        {"type": "array", "items": {"type": "string"}, "maxItems": 1},
        {"anyOf": [{"type": "null"}, {"type": "number", "minimum": 0, "maximum": 0.5}]},
        {"type": ["null", "string"]},
        {"type": "string", "minLength": 200, "maxLength": 210},
        {"type": "string", "format": "date-time"},
        {"const": {"kept": True}},
        {"allOf": [{"type": "object", "properties": {"b": {"type": "boolean"}}}, {"required": ["b"]}]},
        {
            "$defs": {"node": {"type": "object", "properties": {
                "name": {"type": "string"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
            }, "required": ["name", "children", "next"], "additionalProperties": False}},
            "$ref": "#/$defs/node",
        },
    ],
)  # fmt: skip
def test_values_conform(schema: dict[str, Any]) -> None:
    """Jsonschema accepts what comes out, recursion included, in both styles."""
    validate(conforming(schema, TEXT), schema)
    validate(conforming(schema, TEXT, "phrases"), schema)


def test_an_enum_takes_the_value_that_the_text_names() -> None:
    """The choice whose words occur in the text wins; without one, the first."""
    impact = {"enum": ["Low impact", "High impact"]}
    assert conforming(impact, TEXT) == "High impact"
    assert conforming({"enum": ["red", "blue"]}, TEXT) == "red"
    assert conforming({"enum": [3, 4]}, TEXT) == 3


def test_strings_are_sentences_or_names_of_the_text() -> None:
    """Answers quote sentences, a tool's arguments take names."""
    schema = {"type": "object", "properties": {"issue": {"type": "string"}, "place": {"type": "string"}}}
    said = conforming(schema, TEXT)
    assert said["issue"].startswith("The printer on floor 2 is broken.")
    assert said["place"] in TEXT
    assert conforming({"type": "object", "properties": {"city": {"type": "string"}}}, TEXT, "phrases") == {
        "city": "Berlin"
    }


@pytest.mark.parametrize("schema", [{}, {"$ref": "#/nowhere"}, {"type": "unknown"}, {"properties": {"a": True}}])
def test_odd_schemas_give_something(schema: dict[str, Any]) -> None:
    """A schema that says little, or refers to nothing, is no error."""
    conforming(schema, "")


leaf = st.sampled_from(
    [
        {"type": "string"},
        {"type": "integer"},
        {"type": "number"},
        {"type": "boolean"},
        {"enum": ["a", "b"]},
        {"type": "null"},
    ]
)
schemas = st.recursive(
    leaf,
    lambda inner: st.one_of(
        inner.map(lambda items: {"type": "array", "items": items}),
        st.dictionaries(st.sampled_from("abcd"), inner, min_size=1).map(
            lambda fields: {
                "type": "object",
                "properties": fields,
                "required": sorted(fields),
                "additionalProperties": False,
            }
        ),
        inner.map(lambda option: {"anyOf": [option, {"type": "null"}]}),
    ),
    max_leaves=12,
)


@given(schemas, st.text(max_size=200))
def test_any_strict_schema_is_conformed_to(schema: dict[str, Any], text: str) -> None:
    """Whatever closed schema and whatever text come, the value validates."""
    validate(conforming(schema, text), schema)
