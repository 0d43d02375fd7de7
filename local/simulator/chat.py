"""Chat completions, JSON and streamed, in the look of Azure OpenAI (api-version 2024-10-21 and v1).

A stream begins with an event that has no choices, an empty model and id, and `prompt_filter_results`; then the role, a
word per event, the finish, with `include_usage` the usage, and `[DONE]`.
"""

from collections.abc import Iterator
from itertools import count
from typing import Any

import msgspec

from local.simulator import errors, replies
from local.simulator.answers import (
    DONE,
    FILTERED,
    PROMPT_FILTER_RESULTS,
    SAFE,
    Answer,
    Event,
    chat_usage,
    event,
)
from local.simulator.backend import Backend
from local.simulator.calls import Call, converted, decoded
from local.simulator.replies import Function, Reply, Wish
from local.simulator.tokens import ChatPrompt, Message, Usage

FINGERPRINT = "fp_0000000000"


class StreamOptions(msgspec.Struct, frozen=True):
    include_usage: bool = False


class Tool(msgspec.Struct, frozen=True):
    type: str = "function"
    function: Function | None = None


class ChatRequest(msgspec.Struct, frozen=True):
    """The fields of a request that change the answer."""

    messages: list[Message] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tools: list[dict[str, Any]] | None = None
    functions: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    n: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stop: str | list[str] | None = None
    reasoning_effort: str | None = None


_decoder = msgspec.json.Decoder(ChatRequest)


def answer(call: Call, backend: Backend) -> Answer:
    """Return the answer to a chat request. Raises AzureError."""
    request = decoded(_decoder, call.body)
    _check(request, call)
    most, copies = request.max_completion_tokens or request.max_tokens, request.n or 1
    definitions = [entry for entry in (request.tools, request.functions) if entry]
    prompt = ChatPrompt(request.messages or (), definitions)
    usage = backend.admit(call, prompt, most and most * copies)
    reply = replies.compose(_wish(request, most), call.model, call.tokenizer)
    completion = copies * reply.completion_tokens(call.tokenizer)
    backend.settle(call, most and most * copies, completion)
    usage = Usage(usage.prompt, usage.cached, completion, copies * reply.reasoning)
    if request.stream:
        included = request.stream_options is not None and request.stream_options.include_usage
        return Answer(usage, events=_events(call, reply, copies, usage if included else None))
    return Answer(usage, body=msgspec.json.encode(_document(call, reply, copies, usage)))


def _check(request: ChatRequest, call: Call) -> None:
    if request.messages is None:
        raise errors.invalid_request(
            "Missing required parameter: 'messages'.", param="messages", code="missing_required_parameter"
        )
    if request.stream_options is not None and not call.takes_stream_options():
        raise errors.invalid_request(
            "Unknown parameter: 'stream_options'.", param="stream_options", code="unknown_parameter"
        )
    if request.stream_options is not None and not request.stream:
        raise errors.invalid_request(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.", param="stream_options"
        )
    if request.max_tokens is not None and replies.is_reasoning_model(call.model):
        raise errors.invalid_request(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' "
            "instead.",
            param="max_tokens",
            code="unsupported_parameter",
        )


def _wish(request: ChatRequest, most: int | None) -> Wish:
    tools = converted(request.tools or [], list[Tool])
    choice = request.tool_choice or "auto"
    stop = request.stop or ()
    return Wish(
        messages=request.messages or (),
        functions=[tool.function for tool in tools if tool.function is not None],
        forced=choice if isinstance(choice, str) else choice.get("function", {}).get("name", "auto"),
        schema=_schema(request.response_format or {}),
        stop=(stop,) if isinstance(stop, str) else stop,
        max_tokens=most,
        effort=request.reasoning_effort or "medium",
    )


def _schema(response_format: dict[str, Any]) -> dict[str, Any] | None:
    match response_format:
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            return schema
        case {"type": "json_object" | "json_schema"}:
            return {}
    return None


def _document(call: Call, reply: Reply, copies: int, usage: Usage) -> dict[str, Any]:
    message: dict[str, Any] = {"annotations": [], "content": reply.text, "refusal": None, "role": "assistant"}
    if reply.call is not None:
        message["content"] = None
        message["tool_calls"] = [_tool_call(call, reply, 0)]
    document = {
        "choices": [
            {
                "content_filter_results": _filter_results(reply),
                "finish_reason": reply.finish,
                "index": index,
                "logprobs": None,
                "message": message,
            }
            for index in range(copies)
        ],
        "created": call.created,
        "id": f"chatcmpl-{call.hex_id}",
        "model": call.model,
        "object": "chat.completion",
        "prompt_filter_results": PROMPT_FILTER_RESULTS,
        "system_fingerprint": FINGERPRINT,
    }
    if call.report != "missing":
        document["usage"] = chat_usage(usage, call)
    return document


def _tool_call(call: Call, reply: Reply, index: int) -> dict[str, Any]:
    function = {"arguments": reply.call.arguments, "name": reply.call.name} if reply.call else {}
    return {"function": function, "id": f"call_{call.hex_id[:20]}{index:04}", "type": "function"}


def _filter_results(reply: Reply) -> dict[str, Any]:
    if reply.call is not None:
        return {}
    return FILTERED if reply.finish == "content_filter" else SAFE


def _events(call: Call, reply: Reply, copies: int, usage: Usage | None) -> Iterator[Event]:
    """Yield the stream; `usage` is None where the caller did not ask for it."""
    tail: dict[str, Any] = {
        "created": call.created,
        "id": f"chatcmpl-{call.hex_id}",
        "model": call.model,
        "object": "chat.completion.chunk",
        "system_fingerprint": FINGERPRINT,
    }
    empty: dict[str, Any] = {"choices": [], "created": 0, "id": "", "model": "", "object": ""}
    if usage is not None:
        tail["usage"] = empty["usage"] = None
    yield Event(event({**empty, "prompt_filter_results": PROMPT_FILTER_RESULTS}))
    for index in range(copies):
        for delta, text, part in _deltas(call, reply, index):
            choice = {
                "content_filter_results": SAFE if "content" in delta and text else {},
                "delta": delta,
                "finish_reason": None,
                "index": index,
                "logprobs": None,
            }
            yield Event(event({"choices": [choice], **tail}), text, part)
        last = {
            "content_filter_results": FILTERED if reply.finish == "content_filter" else {},
            "delta": {},
            "finish_reason": reply.finish,
            "index": index,
            "logprobs": None,
        }
        yield Event(event({"choices": [last], **tail}))
    if usage is not None and call.report != "missing":
        yield Event(event({"choices": [], **tail, "usage": chat_usage(usage, call)}))
    yield Event(DONE)


def _deltas(call: Call, reply: Reply, index: int) -> Iterator[tuple[dict[str, Any], str, int]]:
    """Yield each delta of one choice, the billed text in it, and the part that the text belongs to."""
    parts = count(2 * index)
    if reply.call is None:
        yield {"content": "", "refusal": None, "role": "assistant"}, "", 0
        part = next(parts)
        for piece in replies.pieces(reply.text):
            yield {"content": piece}, piece, part
        return
    first = _tool_call(call, reply, index)
    first["function"] = {"arguments": "", "name": reply.call.name}
    opening = {"content": None, "refusal": None, "role": "assistant", "tool_calls": [{**first, "index": 0}]}
    yield opening, reply.call.name, next(parts)
    part = next(parts)
    for piece in replies.pieces(reply.call.arguments):
        yield {"tool_calls": [{"function": {"arguments": piece}, "index": 0}]}, piece, part
