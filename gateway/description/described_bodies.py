"""Bodies of the gateway's operations for the description: the fields that most callers use, of Azure OpenAI's own.

The gateway passes bodies through as they are, so each may hold more than is listed here. Names and shapes are those of
Azure OpenAI's data-plane API; fields that take several shapes are described by the plainest one.
"""

from typing import Any, Final

type Schema = dict[str, Any]


def _object(description: str = "", required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    made: Schema = {"type": "object", "properties": properties}
    if description:
        made["description"] = description
    return made | ({"required": list(required)} if required else {})


def _of(kind: str, description: str = "", **more: Any) -> Schema:
    return {"type": kind, **({"description": description} if description else {}), **more}


def _list(items: Schema, description: str = "") -> Schema:
    return _of("array", description, items=items)


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_MODEL: Final = _of("string", "The deployment; not needed where the path names it.")
_STREAM: Final = _of("boolean", "Server-sent events as the answer is written.", default=False)
_TEMPERATURE: Final = _of("number", "0 to 2.")
_TEXTS: Final = _list(_of("string"), "Texts; each is embedded by itself.")

SCHEMAS: Final[dict[str, Schema]] = {
    "ChatMessage": _object(
        "One turn of the conversation.",
        ("role", "content"),
        role=_of("string", "system, developer, user, assistant or tool."),
        content=_of("string", "Text; an array of parts, such as images, is passed on as well."),
    ),
    "ChatRequest": _object(
        "Any field of Azure OpenAI's chat completions may be sent; these are the usual ones.",
        ("messages",),
        model=_MODEL,
        messages=_list(_ref("ChatMessage")),
        max_completion_tokens=_of("integer"),
        temperature=_TEMPERATURE,
        stream=_STREAM,
    ),
    "TokenUsage": _object(prompt_tokens=_of("integer"), completion_tokens=_of("integer"), total_tokens=_of("integer")),
    "ChatChoice": _object(
        index=_of("integer"),
        message=_ref("ChatMessage"),
        finish_reason=_of("string", "stop, length, content_filter or tool_calls."),
    ),
    "ChatAnswer": _object(
        id=_of("string"), model=_of("string"), choices=_list(_ref("ChatChoice")), usage=_ref("TokenUsage")
    ),
    "CompletionRequest": _object(
        "", ("prompt",), model=_MODEL, prompt=_of("string"), max_tokens=_of("integer"), temperature=_TEMPERATURE
    ),
    "CompletionChoice": _object(index=_of("integer"), text=_of("string"), finish_reason=_of("string")),
    "CompletionAnswer": _object(
        id=_of("string"), model=_of("string"), choices=_list(_ref("CompletionChoice")), usage=_ref("TokenUsage")
    ),
    "EmbeddingsRequest": _object("", ("input",), model=_MODEL, input=_TEXTS, dimensions=_of("integer")),
    "Embedding": _object(index=_of("integer"), embedding=_list(_of("number"))),
    "EmbeddingsAnswer": _object(model=_of("string"), data=_list(_ref("Embedding")), usage=_ref("TokenUsage")),
    "ResponsesRequest": _object(
        "Any field of the Responses API may be sent; these are the usual ones.",
        ("model", "input"),
        model=_of("string", "The deployment."),
        input=_of("string", "Text; an array of items is passed on as well."),
        instructions=_of("string"),
        max_output_tokens=_of("integer"),
        store=_of("boolean"),
        stream=_STREAM,
    ),
    "OutputText": _object(type=_of("string"), text=_of("string")),
    "OutputItem": _object(id=_of("string"), type=_of("string"), role=_of("string"), content=_list(_ref("OutputText"))),
    "ResponsesUsage": _object(input_tokens=_of("integer"), output_tokens=_of("integer"), total_tokens=_of("integer")),
    "ResponsesAnswer": _object(
        id=_of("string"),
        status=_of("string", "completed, incomplete, failed, in_progress or queued."),
        model=_of("string"),
        output=_list(_ref("OutputItem")),
        usage=_ref("ResponsesUsage"),
    ),
    "Model": _object(id=_of("string", "The deployment's name."), object=_of("string"), created=_of("integer")),
    "ModelList": _object(object=_of("string"), data=_list(_ref("Model"))),
}
