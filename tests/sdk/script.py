"""The script that both official SDKs run, in Python: `python script.py URL KEY LIMITED_KEY` prints JSON.

`script.mjs` is the same in JavaScript; the test compares what they print field by field.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

import openai
from openai import AzureOpenAI, OpenAI

QUESTION: Any = [{"role": "user", "content": "What is the capital of France?"}]
FILTERED: Any = [{"role": "user", "content": "Please content-filter-me."}]
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
SCHEMA: Any = {
    "type": "json_schema",
    "json_schema": {
        "name": "city",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "known": {"type": "boolean"}},
            "required": ["name", "known"],
            "additionalProperties": False,
        },
    },
}


def main(url: str, key: str, limited_key: str) -> None:
    clients: dict[str, Callable[[str], OpenAI]] = {
        "azure": lambda key: AzureOpenAI(
            azure_endpoint=url, api_key=key, api_version="2025-04-01-preview", max_retries=0
        ),
        "v1": lambda key: OpenAI(base_url=f"{url}/openai/v1/", api_key=key, max_retries=0),
    }
    result = {name: scenarios(client(key), client("sk-nobody")) for name, client in clients.items()}
    result["limited"] = {"second call": limited(clients["v1"](limited_key))}
    sys.stdout.write(json.dumps(result))


def scenarios(client: OpenAI, stranger: OpenAI) -> dict[str, Any]:
    def chat(**more: Any) -> Any:
        return client.chat.completions.create(**{"model": "gpt-4o", "messages": QUESTION} | more)

    return {
        "chat": whole(chat()),
        "stream": streamed(chat(stream=True)),
        "stream with usage": streamed(chat(stream=True, stream_options={"include_usage": True})),
        "tools": whole(chat(tools=[TOOL], tool_choice="required")),
        "structured": whole(chat(response_format=SCHEMA)),
        "embeddings": embedded(client),
        "response": responded(client),
        "response stream": response_streamed(client),
        "models": listed(client),
        "unauthenticated": refused(lambda: stranger.chat.completions.create(model="gpt-4o", messages=QUESTION)),
        "not found": refused(lambda: chat(model="gpt-9")),
        "filtered": refused(lambda: chat(messages=FILTERED)),
        "bad request": refused(lambda: chat(stream_options="all")),
    }


def whole(answer: Any) -> dict[str, Any]:
    choice = answer.choices[0]
    return {
        "model": answer.model,
        "finish": choice.finish_reason,
        "content": choice.message.content,
        "tools": [[call.function.name, call.function.arguments] for call in choice.message.tool_calls or []],
        "usage": counted(answer.usage),
        "request id": bool(answer._request_id),
    }


def counted(usage: Any) -> list[int] | None:
    return [usage.prompt_tokens, usage.completion_tokens, usage.total_tokens] if usage else None


def streamed(stream: Any) -> dict[str, Any]:
    pieces, finish, usage, empty = [], None, None, 0
    for chunk in stream:
        usage = counted(chunk.usage) or usage
        empty += not chunk.choices
        for choice in chunk.choices:
            pieces.append(choice.delta.content or "")
            finish = choice.finish_reason or finish
    return {"pieces": pieces, "finish": finish, "usage": usage, "without choices": empty}


def embedded(client: OpenAI) -> dict[str, Any]:
    answer = client.embeddings.create(model="embed", input=["one", "two"])
    return {
        "model": answer.model,
        "sizes": [len(each.embedding) for each in answer.data],
        "first": [round(value, 4) for value in answer.data[0].embedding[:4]],
        "prompt": answer.usage.prompt_tokens,
    }


def responded(client: OpenAI) -> dict[str, Any]:
    made = client.responses.create(model="gpt-4o", input="What is the capital of France?")
    kept = client.responses.retrieve(made.id)
    client.responses.delete(made.id)
    return {
        "id": made.id.split("_", maxsplit=1)[0],
        "text": made.output_text,
        "kept": kept.output_text,
        "usage": [made.usage.input_tokens, made.usage.output_tokens] if made.usage else None,
        "gone": refused(lambda: client.responses.retrieve("resp_nobody")),
    }


def response_streamed(client: OpenAI) -> dict[str, Any]:
    kinds, deltas, usage = [], [], None
    for event in client.responses.create(model="gpt-4o", input="What is the capital of France?", stream=True):
        kinds.append(event.type)
        if event.type == "response.output_text.delta":
            deltas.append(event.delta)
        if event.type == "response.completed" and event.response.usage:
            usage = [event.response.usage.input_tokens, event.response.usage.output_tokens]
    return {"kinds": kinds, "deltas": deltas, "usage": usage}


def listed(client: OpenAI) -> list[str]:
    return sorted(model.id for model in client.models.list())


def limited(client: OpenAI) -> dict[str, Any]:
    client.embeddings.create(model="embed", input="one")
    return refused(lambda: client.embeddings.create(model="embed", input="one"))


def refused(call: Callable[[], Any]) -> dict[str, Any]:
    try:
        call()
    except openai.APIStatusError as error:
        return {
            "class": type(error).__name__,
            "status": error.status_code,
            "code": error.code,
            "type": error.type,
            "param": error.param,
            "request id": bool(error.request_id),
            "retry after": 0 < int(error.response.headers.get("retry-after", "0")) <= 60,
        }
    return {"class": None}


main(*sys.argv[1:4])
