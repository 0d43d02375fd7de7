"""A ticket by the field names of ServiceNow's Table API, in any of the forms in which it gives a field.

A reference comes as a string or as `{"display_value", "value" or "link"}`, a choice as `"1 - High"` or `"1"`, a journal
as `enrichment.tickets.journals` says. What is kept is plain text: no markup, nothing invisible.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, field_validator, model_validator

from enrichment.calls.fence import visible
from enrichment.tickets.journals import JournalEntry, entries, text_of

MAX_TEXT = 100_000
"""Characters in one field of text: some 25,000 tokens of English."""
MAX_CODE = 1_000
"""Characters in a field that holds a reference, a choice, a number or a time."""


@dataclass(frozen=True, slots=True)
class Coded:
    """A choice or reference: what people see, and what the table holds; "" where only the other one came."""

    display_value: str = ""
    value: str = ""

    @property
    def shown(self) -> str:
        return self.display_value or self.value

    def is_any_of(self, names: frozenset[str]) -> bool:
        """Tell whether what is seen or what is held is among these lower-case names."""
        return bool({self.display_value.lower(), self.value.lower()} - {""} & names) or (not self.shown and "" in names)


def _text(value: Any) -> Any:
    match value:
        case None:
            return ""
        case {"display_value": str(text)} | {"value": str(text)}:
            return text
        case _:
            return value


def _readable(value: Any) -> Any:
    text = _text(value)
    return text_of(text) if isinstance(text, str) and len(text) <= MAX_TEXT else text


def _short(value: Any) -> Any:
    text = _text(value)
    return visible(text).strip() if isinstance(text, str) else text


def _coded(value: Any) -> Any:
    match value:
        case None:
            return Coded()
        case str(text):
            return Coded(_short(text))
        case {"display_value": str(shown), "value": str(held)}:
            return Coded(_short(shown), _short(held))
        case {"display_value": str(shown)}:
            return Coded(_short(shown))
        case {"value": str(held)}:
            return Coded("", _short(held))
        case _:
            return value


def _bounded(value: Coded) -> Coded:
    if len(value.display_value) > MAX_CODE or len(value.value) > MAX_CODE:
        raise ValueError(f"String should have at most {MAX_CODE} characters")
    return value


_STRING = WithJsonSchema({"type": "string"})

Text = Annotated[str, Field(max_length=MAX_TEXT), BeforeValidator(_readable)]
Code = Annotated[str, Field(max_length=MAX_CODE), BeforeValidator(_short)]
Choice = Annotated[Coded, BeforeValidator(_coded), _STRING]
Journal = tuple[JournalEntry, ...]

_CODED = (
    "caller_id", "category", "subcategory", "impact", "urgency", "priority", "assignment_group", "cmdb_ci", "close_code"
)  # fmt: skip


def _journal(element: str) -> Any:
    return BeforeValidator(lambda value: entries(value, element))


class Ticket(BaseModel):
    """A ticket by the names of ServiceNow's Table API. Other fields of the table may be sent; they are not used."""

    model_config = ConfigDict(
        extra="ignore",
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "number": "INC0010023",
                    "short_description": "VPN drops every few minutes",
                    "description": "Since Monday the VPN of our Lisbon office disconnects about every five minutes. "
                    "Restarting the client helps until the next drop.",
                }
            ]
        },
    )

    number: Code = Field(default="", description="The ticket's number, for its readers; it comes back in the answer.")
    sys_id: Code = Field(default="", description="The row's id, which a PATCH of it needs; it comes back.")
    correlation_id: Code = Field(default="", description="The caller's own id of the ticket; it comes back.")
    short_description: Text = Field(default="", description="The ticket's title.")
    description: Text = Field(default="", description="What the caller reported. This or the title must hold text.")
    work_notes: Annotated[Journal, _journal("work_notes"), _STRING] = Field(
        default_factory=tuple, description="Journal of internal notes, as a string or as an array of entries."
    )
    comments: Annotated[Journal, _journal("comments"), _STRING] = Field(
        default_factory=tuple,
        description="Journal of what the caller may read, as a string or as an array of entries.",
    )
    comments_and_work_notes: Annotated[Journal, _journal("comments_and_work_notes"), _STRING] = Field(
        default_factory=tuple, description="Both journals in one; used where neither of the two came."
    )
    caller_id: Choice = Field(default_factory=Coded, description="Who reported it.")
    category: Choice = Field(default_factory=Coded, description="Present value.")
    subcategory: Choice = Field(default_factory=Coded, description="Present value.")
    impact: Choice = Field(default_factory=Coded, description="`1` to `3`, or `1 - High` and so on.")
    urgency: Choice = Field(default_factory=Coded, description="`1` to `3`, or `1 - High` and so on.")
    priority: Choice = Field(default_factory=Coded, description="`1` to `5`, or `1 - Critical` and so on.")
    assignment_group: Choice = Field(default_factory=Coded, description="Present value.")
    cmdb_ci: Choice = Field(default_factory=Coded, description="The configuration item that is affected.")
    close_code: Choice = Field(default_factory=Coded, description="Present value.")
    close_notes: Text = Field(default="", description="How it was resolved.")
    opened_at: Code = Field(default="", description="When it was opened.")
    sys_updated_on: Code = Field(default="", description="When the row was last changed.")

    @field_validator(*_CODED, mode="after")
    @classmethod
    def _in_bounds(cls, value: Coded) -> Coded:
        return _bounded(value)

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not (self.short_description or self.description):
            raise ValueError("short_description or description must hold text")
        return self

    def journal(self) -> Journal:
        """Return all entries, each journal's oldest first."""
        return (*self.work_notes, *self.comments) or self.comments_and_work_notes
