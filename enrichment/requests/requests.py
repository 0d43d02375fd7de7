"""What the ticket routes take, described for /openapi.json."""

from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic.json_schema import SkipJsonSchema

from enrichment.calls.fence import visible
from enrichment.tickets.ticket import MAX_TEXT, Coded, Ticket

MAX_CHOICES: Final = 2_000
MAX_CHOICE: Final = 200
MAX_HISTORY: Final = 200
LANGUAGE: Final = r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$"

TaskName = Literal[
    "summary",
    "classification",
    "sentiment",
    "entities",
    "next_steps",
    "similar",
    "resolution_notes",
    "knowledge_article",
    "reply",
]

ChosenField = Literal["category", "subcategory", "assignment_group", "close_code"]
"""Fields that take one of the caller's choices."""

SuggestedField = Literal[
    "category", "subcategory", "assignment_group", "close_code", "impact", "urgency", "priority", "close_notes"
]
"""Fields for which there are suggestions."""


def _choice(value: Any) -> Any:
    match value:
        case str(text):
            shown = " ".join(visible(text).split())
            return Coded(shown, shown)
        case {"display_value": str(shown), "value": str(held)}:
            return Coded(" ".join(visible(shown).split()), visible(held).strip())
        case _:
            return value


def _distinct(choices: tuple[Coded, ...]) -> tuple[Coded, ...]:
    """Fold what differs in case and white space alone; the first spelling stays."""
    found: dict[str, Coded] = {}
    for choice in choices:
        if len(choice.display_value) > MAX_CHOICE or len(choice.value) > MAX_CHOICE:
            raise ValueError(f"A choice takes at most {MAX_CHOICE} characters")
        if choice.display_value:
            found.setdefault(choice.display_value.casefold(), choice)
    return tuple(found.values())


Choices = Annotated[
    tuple[Annotated[Coded, BeforeValidator(_choice)], ...],
    AfterValidator(_distinct),
    Field(max_length=MAX_CHOICES),
    WithJsonSchema({"type": "array", "items": {"type": "string", "maxLength": MAX_CHOICE}, "maxItems": MAX_CHOICES}),
]


class AllowedChoices(BaseModel):
    """The values that a field may take. A field without choices gets no suggestion.

    A choice is a string, or `{"display_value", "value"}`: models read and write the one, the patch takes the other.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    category: Choices = ()
    subcategory: Choices = ()
    assignment_group: Choices = ()
    close_code: Choices = ()

    def of(self, field: ChosenField) -> tuple[Coded, ...]:
        chosen: tuple[Coded, ...] = getattr(self, field)
        return chosen


class Rule(BaseModel):
    """When a suggestion for a field goes into the patch."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    field: SuggestedField
    threshold: Annotated[float, Field(ge=0, le=1)] | SkipJsonSchema[None] = Field(
        default=None, description="The least confidence; without it, the operator's."
    )
    overwrite: (
        Annotated[tuple[Annotated[str, Field(max_length=MAX_CHOICE)], ...], Field(max_length=100)]
        | SkipJsonSchema[None]
    ) = Field(
        default=None,
        description="Present values that may be replaced; an empty string for an empty field, `*` for any value. "
        "Without it: empty, and what ServiceNow fills in by itself.",
    )


def _once(tasks: Iterable[TaskName]) -> tuple[TaskName, ...]:
    return tuple(dict.fromkeys(tasks))


class EnrichRequest(BaseModel):
    """A ticket and what is wanted of it."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "ticket": {
                        "number": "INC0010023",
                        "short_description": "VPN drops every few minutes",
                        "description": "Since Monday the VPN of our Lisbon office disconnects every five minutes.",
                    },
                    "tasks": ["summary", "classification", "next_steps"],
                    "choices": {"category": ["Hardware", "Network", "Software"], "assignment_group": ["Network"]},
                }
            ]
        },
    )

    ticket: Ticket
    tasks: Annotated[tuple[TaskName, ...], AfterValidator(_once)] = Field(
        default=("summary", "classification"), min_length=1, max_length=50, description="All run at once."
    )
    choices: AllowedChoices = AllowedChoices()
    history: tuple[Ticket, ...] = Field(
        default=(),
        max_length=MAX_HISTORY,
        description="Resolved tickets: what `similar` finds, and what confidence is checked against.",
    )
    rules: tuple[Rule, ...] = Field(default=(), max_length=20, description="At most one a field.")
    output_language: str | SkipJsonSchema[None] = Field(
        default=None,
        pattern=LANGUAGE,
        max_length=35,
        description="BCP 47 tag of the language to write in; without it, the ticket's own.",
    )
    mode: Literal["auto", "sync", "async"] = Field(
        default="auto",
        description="`sync` answers within 25 seconds; `async` makes a job of it; `auto` does what comes first.",
    )

    @model_validator(mode="after")
    def _one_rule_a_field(self) -> Self:
        fields = [rule.field for rule in self.rules]
        if len(set(fields)) < len(fields):
            raise ValueError("rules: there is more than one rule for a field")
        return self

    def rule(self, field: SuggestedField) -> Rule | None:
        return next((rule for rule in self.rules if rule.field == field), None)


class Question(BaseModel):
    """Text to be answered."""

    model_config = ConfigDict(
        extra="ignore",
        frozen=True,
        json_schema_extra={"examples": [{"input": "How do I map a network drive on Windows 11?"}]},
    )

    input: str = Field(min_length=1, max_length=MAX_TEXT, pattern=r"\S", description="What the model is to answer.")
