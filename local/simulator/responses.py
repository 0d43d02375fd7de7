"""The Responses API, JSON, streamed and in the background: create. A response belongs to the backend that made it."""

from dataclasses import replace
from typing import Any

import msgspec

from local.simulator import errors, replies
from local.simulator.answers import Answer, reported
from local.simulator.backend import Backend, StoredResponse
from local.simulator.calls import Call, converted, decoded
from local.simulator.replies import Function, Reply, Wish
from local.simulator.response_events import events_of
from local.simulator.stored_responses import shown, stored_items
from local.simulator.tokens import ChatPrompt, FunctionCall, Message, MessageCall, Part, Usage


class InputItem(msgspec.Struct, frozen=True):
    """A message, a function call, or a function's output."""

    type: str = "message"
    role: str | None = None
    content: str | list[Part] | None = None
    name: str | None = None
    arguments: str | None = None
    output: str | list[Part] | None = None

    def message(self) -> Message | None:
        """Return it as a message that can be counted and answered, or None for what costs nothing."""
        if self.type == "function_call_output":
            return Message("tool", self.output)
        if self.type == "function_call":
            return Message("assistant", None, None, [MessageCall(FunctionCall(self.name or "", self.arguments or ""))])
        return Message(self.role, self.content) if self.role else None


class ResponseRequest(msgspec.Struct, frozen=True):
    """The fields of a request that change the answer."""

    input: str | list[InputItem] | None = None
    instructions: str | None = None
    stream: bool | None = None
    store: bool | None = None
    background: bool | None = None
    previous_response_id: str | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    text: dict[str, Any] | None = None
    max_output_tokens: int | None = None
    reasoning: dict[str, Any] | None = None
    metadata: dict[str, str] | None = None
    parallel_tool_calls: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    user: str | None = None


_decoder = msgspec.json.Decoder(ResponseRequest)


def answer(call: Call, backend: Backend) -> Answer:
    """Return the answer to a request for a response. Raises AzureError."""
    request = decoded(_decoder, call.body)
    if request.input is None:
        raise errors.invalid_request(
            "Missing required parameter: 'input'.", param="input", code="missing_required_parameter"
        )
    if request.background and request.store is False:
        raise errors.invalid_request("Background mode requires 'store' to be true.", param="background")
    conversation = (*_history(request, backend), *_messages(request))
    instructions = (Message("system", request.instructions),) if request.instructions else ()
    prompt = ChatPrompt((*instructions, *conversation), [request.tools] if request.tools else ())
    usage = backend.admit(call, prompt, request.max_output_tokens)
    reply = replies.compose(_wish(request, prompt.messages), call.model, call.tokenizer)
    completion = reply.completion_tokens(call.tokenizer)
    backend.settle(call, request.max_output_tokens, completion)
    usage = Usage(usage.prompt, usage.cached, completion, reply.reasoning)
    stored = StoredResponse(_document(call, request, reply, usage), (*conversation, _said(reply)), stored_items(call))
    if request.background:
        streamed = bool(request.stream)
        stored = replace(stored, work=backend.begin(call, usage, streamed=streamed))
        return _begun(stored, usage, backend, streamed=streamed)

    def keep() -> None:
        if request.store is not False:
            backend.responses.put(stored)

    if request.stream:
        return Answer(usage, events=events_of(stored.document), kept=keep)
    return Answer(usage, body=msgspec.json.encode(stored.document), kept=keep)


def _begun(stored: StoredResponse, usage: Usage, backend: Backend, *, streamed: bool) -> Answer:
    """Return the answer that work in the background has begun; a stream goes along with the work to its end."""
    backend.responses.put(stored)
    if streamed:
        return Answer(usage, events=events_of(stored.document), background=True)
    return Answer(usage, body=msgspec.json.encode(shown(stored, backend.clock.now())), background=True)


def _history(request: ResponseRequest, backend: Backend) -> tuple[Message, ...]:
    if not request.previous_response_id:
        return ()
    stored = backend.responses.kept.get(request.previous_response_id)
    if stored is None:
        raise errors.previous_response_not_found(request.previous_response_id)
    return stored.conversation


def _messages(request: ResponseRequest) -> list[Message]:
    if isinstance(request.input, str):
        return [Message("user", request.input)]
    return [message for item in request.input or () if (message := item.message()) is not None]


def _said(reply: Reply) -> Message:
    if reply.call is None:
        return Message("assistant", reply.text)
    return Message("assistant", None, None, [MessageCall(FunctionCall(reply.call.name, reply.call.arguments))])


def _wish(request: ResponseRequest, messages: Any) -> Wish:
    functions = [tool for tool in request.tools or () if tool.get("type") == "function" and tool.get("name")]
    choice = request.tool_choice or "auto"
    return Wish(
        messages=messages,
        functions=converted(functions, list[Function]),
        forced=choice if isinstance(choice, str) else choice.get("name", "auto"),
        schema=_schema((request.text or {}).get("format") or {}),
        max_tokens=request.max_output_tokens,
        effort=(request.reasoning or {}).get("effort") or "medium",
    )


def _schema(form: dict[str, Any]) -> dict[str, Any] | None:
    match form:
        case {"type": "json_schema", "schema": dict(schema)}:
            return schema
        case {"type": "json_object" | "json_schema"}:
            return {}
    return None


def _document(call: Call, request: ResponseRequest, reply: Reply, usage: Usage) -> dict[str, Any]:
    reasons = {"length": "max_output_tokens", "content_filter": "content_filter"}
    reason = reasons.get(reply.finish)
    document = {
        "id": f"resp_{call.hex_id}",
        "object": "response",
        "created_at": call.created,
        "status": "incomplete" if reason else "completed",
        "background": bool(request.background),
        "error": None,
        "incomplete_details": {"reason": reason} if reason else None,
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "metadata": request.metadata or {},
        "model": call.model,
        "output": _output(call, reply, "incomplete" if reason else "completed"),
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": request.previous_response_id,
        "reasoning": {"effort": (request.reasoning or {}).get("effort"), "summary": None},
        "service_tier": "default",
        "store": request.store is not False,
        "temperature": 1.0 if request.temperature is None else request.temperature,
        "text": request.text or {"format": {"type": "text"}},
        "tool_choice": request.tool_choice or "auto",
        "tools": request.tools or [],
        "top_p": 1.0 if request.top_p is None else request.top_p,
        "truncation": "disabled",
        "usage": None,
        "user": request.user,
    }
    if call.report != "missing":
        document["usage"] = _usage(reported(usage, call.report))
    return document


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": usage.cached},
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.prompt + usage.completion,
    }


def _output(call: Call, reply: Reply, status: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if reply.reasoning:
        items.append({"id": f"rs_{call.hex_id}", "type": "reasoning", "summary": []})
    if reply.call is not None:
        items.append(
            {
                "id": f"fc_{call.hex_id}",
                "type": "function_call",
                "status": status,
                "arguments": reply.call.arguments,
                "call_id": f"call_{call.hex_id[:24]}",
                "name": reply.call.name,
            }
        )
        return items
    text = {"type": "output_text", "annotations": [], "logprobs": [], "text": reply.text}
    items.append(
        {"id": f"msg_{call.hex_id}", "type": "message", "status": status, "content": [text], "role": "assistant"}
    )
    return items
