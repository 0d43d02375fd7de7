"""JSON schemas that models must keep to, in the subset that Azure OpenAI takes for strict structured output.

Every property is required and nothing else is allowed; there are no lengths, ranges, patterns, formats, defaults
(Microsoft Learn, "Structured outputs", the lists of unsupported keywords). What the subset cannot say is checked in
code. Properties are written by the model in this order.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel

MAX_ENUM_VALUES: Final = 400
MAX_ENUM_CHARACTERS: Final = 7_000
"""In all of a schema. Azure takes 500 values, of one property no more than 7,500 characters from 250 values on, and
15,000 characters of names and values in all."""

_KEPT: Final = ("type", "description", "enum", "const")

type Schema = dict[str, Any]


def strict(model: type[BaseModel]) -> Schema:
    """Return the schema of a model's fields: strings, numbers, literals, lists and other models, never itself."""
    whole = model.model_json_schema()
    return _strict(whole, whole.get("$defs", {}))


def closed(properties: Mapping[str, Schema]) -> Schema:
    """Return an object of exactly these properties."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def fitting[Name: str](choices: Mapping[Name, Sequence[str]]) -> frozenset[Name]:
    """Return the names whose values fit into one schema as enums, the shortest lists first."""
    fit: set[Name] = set()
    values = characters = 0
    for name, listed in sorted(choices.items(), key=lambda choice: sum(map(len, choice[1]))):
        values += len(listed)
        characters += sum(map(len, listed))
        if values > MAX_ENUM_VALUES or characters > MAX_ENUM_CHARACTERS:
            break
        fit.add(name)
    return frozenset(fit)


def one_of(values: Sequence[str] | None) -> Schema:
    """Return what takes one of these strings or null; without values any string, which code has to check."""
    string: Schema = {"type": "string"} if values is None else {"type": "string", "enum": list(values)}
    return {"anyOf": [string, {"type": "null"}]}


def _strict(schema: Mapping[str, Any], named: Mapping[str, Any]) -> Schema:
    if "$ref" in schema:
        return _strict(named[schema["$ref"].rpartition("/")[2]], named)
    if schema.get("type") == "object":
        return closed({name: _strict(each, named) for name, each in schema["properties"].items()})
    kept = {name: schema[name] for name in _KEPT if name in schema}
    if "items" in schema:
        kept["items"] = _strict(schema["items"], named)
    return kept
