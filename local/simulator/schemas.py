"""Values that conform to a JSON schema, filled from a text: what structured outputs and tool calls answer with."""

import re
from collections.abc import Mapping
from typing import Any, Literal

from local.simulator import extracts, topics
from local.simulator.tickets import Quotation, TicketText, verdict

MAX_DEPTH = 8
LIST_ITEMS = 3
CONFIDENCE = 0.8

Style = Literal["sentences", "phrases"]

_CITING = frozenset({"entries", "entry"})
_PHRASED = {"step": "Follow this up: {}", "reason": "The ticket says: {}"}

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
        self._ticket = TicketText.read(text) if style == "sentences" else None

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
                return self._object(schema, name, depth)
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
        if named and self._ticket:
            return topics.choice(named, self._ticket.text)[0]
        return extracts.best_match(named, self._text) if named else allowed[0]

    def _object(self, schema: Mapping[str, Any], name: str, depth: int) -> dict[str, Any]:
        properties = schema.get("properties") or {}
        if self._ticket and {"evidence", "value"} <= properties.keys():
            return self._verdict(self._ticket, properties, name, depth)
        required = schema.get("required") or []
        names = properties if depth < MAX_DEPTH // 2 else [name for name in properties if name in required]
        return {name: self._fill(properties[name], name, depth + 1) for name in names}

    def _verdict(self, ticket: TicketText, properties: Mapping[str, Any], name: str, depth: int) -> dict[str, Any]:
        """Fill what a classification is made of: the words that decide, one of the values, how sure it is."""
        given = self._resolved(properties["value"])
        options = given.get("anyOf") or [given]
        allowed: list[str] = next((option["enum"] for option in options if option.get("enum")), [])
        closing = ticket.pool("resolution") if name == "close_code" else ticket.quotations
        sentences = [quotation.sentence for quotation in closing]
        made = {each: self._fill(schema, each, depth + 1) for each, schema in properties.items()}
        if not allowed or not sentences:
            return made | ({"evidence": "", "value": None} if len(options) > 1 else {})
        judged = verdict(allowed, "\n".join(sentences), sentences, may_abstain=len(options) > 1)
        return made | {each: value for each, value in judged.items() if each in properties}

    def _cited(self, schema: Mapping[str, Any], quotation: Quotation, depth: int) -> dict[str, Any]:
        """Fill an object that names the parts of a ticket it rests on, all of it from one of its sentences."""
        properties = schema.get("properties") or {}
        made: dict[str, Any] = {}
        for name, each in properties.items():
            resolved = self._resolved(each)
            if name == "entries":
                made[name] = list(quotation.entries)
            elif name == "entry":
                made[name] = quotation.entries[0]
            elif resolved.get("enum"):
                made[name] = topics.choice(resolved["enum"], quotation.sentence)[0]
            elif resolved.get("type") == "string":
                made[name] = _PHRASED.get(name, "{}").format(quotation.sentence)
            else:
                made[name] = self._fill(each, name, depth + 1)
        return made

    def _array(self, schema: Mapping[str, Any], name: str, depth: int) -> list[Any]:
        least = schema.get("minItems", 0)
        wanted = 1 if depth < MAX_DEPTH // 2 else 0
        items = schema.get("items", {})
        if self._ticket and isinstance(items, Mapping):
            shape = self._resolved(items)
            if not _CITING.isdisjoint(shape.get("properties") or {}):
                return [self._cited(shape, each, depth) for each in self._ticket.pool(name)[: LIST_ITEMS + 1]]
            if name == "entries":
                return [self._ticket.quotations[0].entries[0]] if self._ticket.quotations else []
            if name == "keywords":
                return list(dict.fromkeys(extracts.words(self._ticket.text)))[:LIST_ITEMS]
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
        if self._ticket:
            return self._of_ticket(self._ticket, name)
        if name in ("summary", "issue", "answer", "text"):
            return extracts.gist(self._text)
        self._given += 1
        return self._sentences[(self._given - 1) % len(self._sentences)]

    def _of_ticket(self, ticket: TicketText, name: str) -> str:
        sentences = ticket.sentences
        if not sentences:
            return ""
        match name:
            case "title":
                return sentences[0]
            case "text":
                return f"Hello, thank you for your report. {extracts.gist(ticket.text)} We are looking into it."
            case _:
                return _PHRASED.get(name, "{}").format(sentences[-1])

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
