"""Schemas of OpenAPI 3.1 as OpenAPI 3.0.3 has them, in the narrow form that importers read.

API Management and ServiceNow read neither `anyOf` and `oneOf` nor free-form maps, and a `$ref` hides what stands beside
it (OpenAPI 3.0.3, Reference Object). So a choice becomes its plainest alternative, null becomes `nullable`, a reference
with something beside it is written out, and a map with known keys becomes an object with these properties.
"""

from collections.abc import Mapping
from typing import Any, Final

type Schema = dict[str, Any]

PREFIX: Final = "#/components/schemas/"
_DEEPEST: Final = 20
_PYTHONS: Final[dict[str, Any]] = {
    "string": str,
    "array": list,
    "object": dict,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
}
_KEPT: Final = frozenset({
    "type", "format", "title", "description", "default", "example", "enum", "pattern", "required", "nullable",
    "minimum", "maximum", "multipleOf", "minLength", "maxLength", "minItems", "maxItems", "uniqueItems",
})  # fmt: skip


class NotImportable(Exception):
    """A schema that OpenAPI 3.0.3 or its importers cannot express; the message names the place."""


class ImportableSchemas:
    """`described` are the schemas of OpenAPI 3.1, by name. `left_out` collects the properties that were left out."""

    def __init__(self, described: Mapping[str, Schema]) -> None:
        self._described = described
        self.left_out: set[str] = set()

    def named(self, name: str) -> Schema:
        return self.of({"$ref": PREFIX + name}, name, written_out=True)

    def of(self, schema: Schema, place: str, *, written_out: bool = False) -> Schema:
        """Return the schema as importers read it. Raises NotImportable for a free-form map and for a recursion."""
        found = self._of(schema, place, 0, written_out=written_out)
        if found is None:
            raise NotImportable(f"{place} is a free-form map: describe its fields, or make it a list of name and value")
        return found

    def _of(self, schema: Schema, place: str, depth: int, *, written_out: bool = False) -> Schema | None:
        """Return None for a free-form map."""
        if depth > _DEEPEST:
            raise NotImportable(f"{place} refers to itself: API Management does not import recursive schemas")
        if "$ref" in schema:
            return self._reference(schema, place, depth, written_out=written_out)
        for choice in ("anyOf", "oneOf", "allOf"):
            if choice in schema:
                return self._choice(schema, choice, place, depth)
        if schema.get("type") == "object" or "properties" in schema:
            return self._object(schema, place, depth)
        made = _plain(schema)
        if "items" in schema:
            items = self._of(schema["items"], f"{place}[]", depth + 1)
            if items is None:
                return None
            made["items"] = items
        return made

    def _reference(self, schema: Schema, place: str, depth: int, *, written_out: bool) -> Schema | None:
        beside = {name: value for name, value in schema.items() if name != "$ref"}
        target = self._of(self._described[schema["$ref"].removeprefix(PREFIX)], place, depth + 1)
        if target is None:
            return None
        if not (beside or written_out):
            return {"$ref": schema["$ref"]}
        return target | _plain(beside)

    def _choice(self, schema: Schema, choice: str, place: str, depth: int) -> Schema | None:
        beside = {name: value for name, value in schema.items() if name != choice}
        alternatives = [each for each in schema[choice] if each.get("type") != "null"]
        if choice == "allOf" and len(alternatives) > 1:
            raise NotImportable(f"{place} has an allOf of several schemas")
        # A string can carry what a number can: amounts are answered as strings, too.
        plainest = next((each for each in alternatives if each.get("type") == "string"), alternatives[0])
        if len(alternatives) < len(schema[choice]):
            beside["nullable"] = True
        if "default" in beside and not isinstance(beside["default"], _PYTHONS.get(plainest.get("type", ""), object)):
            del beside["default"]
        return self._of(plainest | beside, place, depth + 1)

    def _object(self, schema: Schema, place: str, depth: int) -> Schema | None:
        properties = dict(schema.get("properties", {}))
        if not properties and isinstance(keys := schema.get("propertyNames"), dict):
            keys = self._described[keys["$ref"].removeprefix(PREFIX)] if "$ref" in keys else keys
            properties = dict.fromkeys(keys.get("enum", ()), schema["additionalProperties"])
        if not properties:
            return None
        made = _plain(schema) | {"type": "object", "properties": {}}
        for name, described in properties.items():
            found = self._of(described, f"{place}.{name}", depth + 1)
            if found is None:
                self.left_out.add(f"{place}.{name}")
            else:
                made["properties"][name] = found
        required = [name for name in schema.get("required", ()) if name in made["properties"]]
        return made | {"required": required} if required else {k: v for k, v in made.items() if k != "required"}


def _plain(schema: Schema) -> Schema:
    """Return what both versions know, and what 3.0.3 writes in another way."""
    made = {name: value for name, value in schema.items() if name in _KEPT}
    if isinstance(schema.get("type"), list):
        made["type"] = next(each for each in schema["type"] if each != "null")
        made["nullable"] = "null" in schema["type"]
    if "const" in schema:
        made["enum"] = [schema["const"]]
    if schema.get("examples"):
        made["example"] = schema["examples"][0]
    for bound in ("minimum", "maximum"):
        exclusive = f"exclusive{bound.capitalize()}"
        if exclusive in schema:
            made |= {bound: schema[exclusive], exclusive: True}
    if made.get("default", ...) is None:
        del made["default"]
    return made
