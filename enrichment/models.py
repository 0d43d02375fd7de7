"""Bodies of the ticket routes: what they take and what they answer, described for /openapi.json."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from enrichment.fence import visible

MAX_TEXT = 100_000
"""Characters in one field of text: some 25,000 tokens of English."""


def _plain(value: Any) -> Any:
    """Return the text of a Table API field in any of its forms: string, null, reference, journal entries."""
    if isinstance(value, list):
        entries = [_text(entry) for entry in value]
        return "\n\n".join(entries) if all(isinstance(entry, str) for entry in entries) else value
    return _text(value)


def _text(value: Any) -> Any:
    match value:
        case None:
            return ""
        case {"display_value": str(text)} | {"value": str(text)}:
            return text
        case _:
            return value


Text = Annotated[str, BeforeValidator(_plain), Field(max_length=MAX_TEXT)]


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

    short_description: Text = Field(default="", description="The ticket's title.")
    description: Text = Field(default="", description="What the caller reported. This or the title must hold text.")
    work_notes: Text = Field(
        default="", description="Journal of internal notes, as a string or as an array of entries."
    )
    comments: Text = Field(default="", description="Journal of comments, as a string or as an array of entries.")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not (visible(self.short_description).strip() or visible(self.description).strip()):
            raise ValueError("short_description or description must hold text")
        return self


class Usage(BaseModel):
    """Tokens as the model's backend counted them."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Summary(BaseModel):
    """A ticket in one paragraph."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "summary": "The VPN of the Lisbon office has been disconnecting about every five minutes since "
                    "Monday; restarting the client helps only for a while.",
                    "model": "gpt-4o-mini-2024-07-18",
                    "prompt": "summary/1",
                    "usage": {"prompt_tokens": 212, "completion_tokens": 34, "total_tokens": 246},
                    "request_id": "5f0c1e9ad3b04c6f9d6c1b1f3a0e2c77",
                }
            ]
        }
    )

    summary: str = Field(description="One short paragraph of plain text.")
    model: str = Field(description="The model that wrote it.")
    prompt: str = Field(description="Name and version of the instructions it was given.")
    usage: Usage | SkipJsonSchema[None] = Field(default=None, description="Left out where the backend gave none.")
    request_id: str = Field(description="The gateway's id of the model call, as in the ledger.")


class Question(BaseModel):
    """Text to be answered."""

    model_config = ConfigDict(
        extra="ignore",
        frozen=True,
        json_schema_extra={"examples": [{"input": "How do I map a network drive on Windows 11?"}]},
    )

    input: str = Field(min_length=1, max_length=MAX_TEXT, pattern=r"\S", description="What the model is to answer.")


class ErrorDetail(BaseModel):
    message: str
    type: str
    param: str | SkipJsonSchema[None] = None
    code: str | SkipJsonSchema[None] = None


class ErrorBody(BaseModel):
    """OpenAI's error shape, which its SDKs understand."""

    error: ErrorDetail
