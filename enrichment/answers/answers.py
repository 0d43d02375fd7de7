"""What the ticket routes answer around the findings, described for /openapi.json.

What is not there is left out. None is written in one place alone: a cost that is not known.
"""

from typing import Annotated, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.json_schema import SkipJsonSchema

from enrichment.answers.findings import Answer, Findings, absent, optional
from enrichment.requests.requests import SuggestedField, TaskName

DIGEST: Final = "digest"
"""The outcome that tells of condensing a long ticket."""


class Usage(Answer):
    """Tokens as the model's backend counted them."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


NO_TOKENS: Final = Usage(prompt_tokens=0, completion_tokens=0, total_tokens=0)


class Summary(Answer):
    """A ticket in one paragraph."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "summary": "The VPN of the Lisbon office has been disconnecting about every five minutes since "
                    "Monday; restarting the client helps only for a while.",
                    "model": "gpt-4o-mini-2024-07-18",
                    "prompt": "paragraph/1",
                    "usage": {"prompt_tokens": 212, "completion_tokens": 34, "total_tokens": 246},
                    "request_id": "5f0c1e9ad3b04c6f9d6c1b1f3a0e2c77",
                }
            ]
        }
    )

    summary: str = Field(description="One short paragraph of plain text.")
    model: str = Field(description="The model that wrote it.")
    prompt: str = Field(description="Name and version of the instructions it was given.")
    usage: Usage | SkipJsonSchema[None] = optional("Left out where the backend gave none.")
    request_id: str = Field(description="The gateway's id of the model call, as in the ledger.")


class Patch(Answer):
    """The body of `PATCH /api/now/table/incident/{sys_id}`: suggestions that apply, as the table holds their values.

    Priority is not in it: ServiceNow computes it from impact and urgency itself.
    """

    category: str | SkipJsonSchema[None] = optional()
    subcategory: str | SkipJsonSchema[None] = optional()
    assignment_group: str | SkipJsonSchema[None] = optional()
    close_code: str | SkipJsonSchema[None] = optional()
    impact: str | SkipJsonSchema[None] = optional()
    urgency: str | SkipJsonSchema[None] = optional()
    close_notes: str | SkipJsonSchema[None] = optional()


class TaskWarning(Answer):
    """What was dropped or put right in a task's result."""

    code: Literal[
        "outside_choices",
        "confidence_clamped",
        "evidence_not_found",
        "evidence_claims",
        "sentence_not_grounded",
        "unknown_entry",
        "internal_note_quoted",
        "personal_data",
        "not_in_ticket",
        "no_history",
        "no_choices",
        "nothing_said",
        "compared_by_words",
        "ticket_shortened",
        "speaks_to_a_model",
    ]
    message: str
    field: SuggestedField | SkipJsonSchema[None] = optional()


class TaskError(Answer):
    code: str
    message: str
    retry_after: int | SkipJsonSchema[None] = optional("Seconds after which to ask again, where that is known.")


class TaskOutcome(Answer):
    """What became of a task. Tokens are counted for failed tasks, too: they are charged."""

    name: Annotated[str, WithJsonSchema({"type": "string", "enum": [*get_args(TaskName), DIGEST]})] = Field(
        description="`digest` stands for condensing a long ticket."
    )
    status: Literal["succeeded", "failed"]
    error: TaskError | SkipJsonSchema[None] = optional()
    warnings: tuple[TaskWarning, ...] = Field(default=(), exclude_if=absent)
    prompt: str | SkipJsonSchema[None] = optional("Name and version of the instructions.")
    model: str | SkipJsonSchema[None] = optional("The model that answered.")
    request_ids: tuple[str, ...] = Field(
        default=(), exclude_if=absent, description="The gateway's ids of the model calls, as in the ledger."
    )
    usage: Usage = NO_TOKENS


Cost = Annotated[
    str | None,
    WithJsonSchema({"type": ["string", "null"]}),
    Field(description="US dollars at list prices, a decimal number; null where a price is not known."),
]


class Enrichment(Findings):
    """What came of a ticket. The result of a task that was not asked for, or failed, is left out."""

    number: str = ""
    sys_id: str = ""
    correlation_id: str = ""
    language: str = Field(description="The ticket's language as far as it can be told, `und` where it cannot.")
    patch: Patch
    tasks: tuple[TaskOutcome, ...]
    usage: Usage = Field(description="All model calls, failed ones included.")
    cost: Cost


class ErrorDetail(BaseModel):
    message: str
    type: str
    param: str | SkipJsonSchema[None] = None
    code: str | SkipJsonSchema[None] = None


class ErrorBody(BaseModel):
    """OpenAI's error shape, which its SDKs understand."""

    error: ErrorDetail
