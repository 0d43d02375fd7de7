"""Values that conform to a JSON schema, filled from a text: what structured outputs and tool calls answer with."""

import re
from collections.abc import Mapping
from typing import Any, Literal

from local.simulator import extracts

MAX_DEPTH = 8
LIST_ITEMS = 3
CONFIDENCE = 0.8

Style = Literal["sentences", "phrases"]

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w.])")
_NAME = re.compile(r"(?<=[^.!?\s] )(?:[A-Z][\w'-]+)(?: [A-Z][\w'-]+)*")
_FORMATS = {
    "date-time": "2025-01-01T00:00:00Z",
    "date": "2025-01-01",
    "time": "00:00:00Z",
    "email": "someone@example.com",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "uri": "https://example.com/",
}


class SchemaFiller:
    """Builds one value. Strings are sentences of the text for an answer, phrases of it for a tool's arguments."""

    def __init__(self, root: Mapping[str, Any], text: str, style: Style) -> None:
        self._root = root
        self._text = text
        self._style = style
        self._sentences = extracts.ranked(text) or [""]
        self._given = 0

    def value(self) -> Any:
        """Return a value that conforms to the schema; a schema without a type gives an empty object."""
        return self._fill(self._root, "", 0)

    def _fill(self, schema: Any, name: str, depth: int) -> Any:
        if not isinstance(schema, Mapping):
            return {}
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._choice(schema["enum"])
        options = schema.get("anyOf") or schema.get("oneOf")
        if options:
            return self._fill(self._option(options, depth), name, depth)
        return self._typed(schema, name, depth)

    def _typed(self, schema: Mapping[str, Any], name: str, depth: int) -> Any:
        kind = schema.get("type", "object")
        if isinstance(kind, list):
            wanted = [entry for entry in kind if entry != "null"]
            kind = wanted[0] if wanted and depth < MAX_DEPTH else "null"
        match kind:
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, name, depth)
            case "string":
                return self._string(schema, name)
            case "integer" | "number":
                return self._number(schema, whole=kind == "integer")
            case "boolean":
                return bool(set(extracts.words(name.replace("_", " "))) & set(extracts.words(self._text)))
            case _:
                return None

    def _resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        for _ in range(MAX_DEPTH):
            reference = schema.get("$ref")
            if not isinstance(reference, str) or not reference.startswith("#"):
                break
            target: Any = self._root
            for step in filter(None, reference[1:].split("/")):
                target = target.get(step, {}) if isinstance(target, Mapping) else {}
            schema = target if isinstance(target, Mapping) else {}
        merged = dict(schema)
        for part in merged.pop("allOf", ()):
            merged.update(self._resolved(part))
        return merged

    def _option(self, options: list[Any], depth: int) -> Any:
        """Pick the first option that is not null; deep down null where there is one, so that recursion ends."""
        nulls = [option for option in options if isinstance(option, Mapping) and option.get("type") == "null"]
        if nulls and depth >= MAX_DEPTH // 2:
            return nulls[0]
        return next((option for option in options if option not in nulls), options[0])

    def _choice(self, allowed: list[Any]) -> Any:
        named = [entry for entry in allowed if isinstance(entry, str)]
        return extracts.best_match(named, self._text) if named else allowed[0]

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties") or {}
        required = schema.get("required") or []
        names = properties if depth < MAX_DEPTH // 2 else [name for name in properties if name in required]
        return {name: self._fill(properties[name], name, depth + 1) for name in names}

    def _array(self, schema: Mapping[str, Any], name: str, depth: int) -> list[Any]:
        least = schema.get("minItems", 0)
        wanted = 1 if depth < MAX_DEPTH // 2 else 0
        items = schema.get("items", {})
        if wanted and isinstance(items, Mapping) and items.get("type") == "string" and "enum" not in items:
            wanted = min(LIST_ITEMS, len(self._sentences))
        count = min(max(least, wanted), schema.get("maxItems", max(least, wanted)))
        return [self._fill(items, name, depth + 1) for _ in range(count)]

    def _string(self, schema: Mapping[str, Any], name: str) -> str:
        form: str | None = _FORMATS.get(str(schema.get("format")))
        if form is not None:
            return form
        text = self._phrase() if self._style == "phrases" else self._sentence(name)
        shortest, longest = int(schema.get("minLength", 0)), int(schema.get("maxLength", len(text) + 1))
        return text[:longest].ljust(shortest, ".")

    def _sentence(self, name: str) -> str:
        if name in ("summary", "issue", "answer", "text"):
            return extracts.gist(self._text)
        self._given += 1
        return self._sentences[(self._given - 1) % len(self._sentences)]

    def _phrase(self) -> str:
        names: list[str] = _NAME.findall(self._text) or [" ".join(extracts.words(self._text)[-3:])]
        self._given += 1
        return names[(self._given - 1) % len(names)]

    def _number(self, schema: Mapping[str, Any], *, whole: bool) -> float | int:
        low = schema.get("minimum", schema.get("exclusiveMinimum", 0 if whole else 0.0))
        high = schema.get("maximum", schema.get("exclusiveMaximum", float("inf")))
        found = _NUMBER.search(self._text)
        value = float(found[0]) if found and whole else (1.0 if whole else CONFIDENCE)
        if not low <= value <= high:
            value = low + (0 if high == float("inf") else (high - low) / 2)
        return int(value) if whole else float(value)


def conforming(schema: Mapping[str, Any], text: str, style: Style = "sentences") -> Any:
    """Return a value that conforms to `schema`, filled from `text`.

    Understood: types, properties, required, items, enum, const, anyOf, oneOf, allOf, $ref into the schema itself,
    minItems, maxItems, minLength, maxLength, minimum, maximum and common formats; patterns are not.
    """
    return SchemaFiller(schema, text, style).value()
