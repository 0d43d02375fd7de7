"""Which answers are whole, and which requests depend on nothing but themselves."""

import json
from typing import Any

import pytest

from gateway.cache.cacheable import LONGEST_REQUEST, asked, is_whole, key_of
from gateway.call import Call
from gateway.catalog.catalog import (
    ApiKey,
    Backend,
    CacheRules,
    CallerToken,
    Deployment,
    Limits,
    Member,
    Subscription,
    UpstreamAuth,
)
from gateway.identity.callers import Caller
from gateway.requests.bodies import peek
from gateway.requests.operations import target

RULES = CacheRules("exact", 60, None, any_temperature=False, threshold=0.95, embeddings="embed")
TEAM = Subscription("team-a", (), "", None, Limits(), None, None, cache=RULES)


def call(fields: Any, operation: str = "chat/completions", *, auth: UpstreamAuth | None = None) -> Call:
    """Return a call with this JSON body."""
    backend = Backend("first", "http://127.0.0.1:1", "paygo", "global", "", auth or ApiKey("made-up"))
    body = json.dumps(fields).encode()
    return Call(
        id="1",
        caller=Caller(TEAM),
        subscription=TEAM,
        target=target(f"/openai/deployments/gpt-4o/{operation}"),
        deployment=Deployment("gpt-4o", "gpt-4o", ((Member(backend, "gpt-4o", 1, 1),),)),
        method="POST",
        query="api-version=2024-10-21",
        headers={},
        body=body,
        peek=peek(body),
        hide_usage=False,
        started=0,
    )


def key(fields: dict[str, Any], operation: str = "chat/completions") -> str | None:
    made = call(fields, operation)
    kept = asked(made, RULES)
    return None if kept is None else key_of(made, kept)


PLAIN: dict[str, Any] = {"temperature": 0, "messages": [{"role": "user", "content": "Hello"}]}


@pytest.mark.parametrize(
    "more",
    [
        {"user": "somebody"},
        {"stream": False},
        {"stream": None, "stream_options": None},
        {"metadata": {"ticket": "1"}, "prompt_cache_key": "x", "safety_identifier": "y"},
    ],
)
def test_fields_that_change_nothing(more: dict[str, Any]) -> None:
    """Who asks, labels and an explicit `stream: false` leave the request the same."""
    assert key(PLAIN | more) == key(PLAIN) is not None


@pytest.mark.parametrize("more", [{"stream": True}, {"seed": 1}, {"n": 2}, {"temperature": 0.0, "top_p": 0.5}])
def test_fields_that_change_the_answer(more: dict[str, Any]) -> None:
    """Anything else is another request."""
    assert key(PLAIN | more) not in {None, key(PLAIN)}


@pytest.mark.parametrize(
    "more",
    [
        {"temperature": 0.2},
        {"temperature": None},
        {"store": True},
        {"data_sources": [{"type": "azure_search"}]},
        {"web_search_options": {"search_context_size": "low"}},
        {"tools": [{"type": "web_search"}]},
        {"tools": "all"},
        {"audio": {"voice": "alloy"}},
        {
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a.example/b"}}]}
            ]
        },
    ],
)
def test_chats_that_depend_on_more(more: dict[str, Any]) -> None:
    """Chance, stored answers, searches, hosted tools and sound are not cached."""
    assert key(PLAIN | more) is None


@pytest.mark.parametrize(
    "more",
    [
        {"store": None},
        {"previous_response_id": "resp_1"},
        {"conversation": "conv_1"},
        {"background": True},
        {"prompt": {"id": "pmpt_1"}},
    ],
)
def test_responses_that_depend_on_more(more: dict[str, Any]) -> None:
    """A response that is stored, continues another, runs in the background or has a stored prompt is not cached."""
    fields = {"input": "Hello", "temperature": 0, "store": False}
    assert key(fields, "responses") is not None
    assert key(fields | more, "responses") is None


def test_other_requests_that_reach_a_backend() -> None:
    """Very long bodies, bodies that are no object, and backends with the caller's own token are not cached."""
    assert asked(call(PLAIN | {"x": "y" * LONGEST_REQUEST}), RULES) is None
    assert asked(call(PLAIN, auth=CallerToken()), RULES) is None
    broken = call(PLAIN)
    broken.body = b'{"model": "gpt-4o", "n": 1e999}'
    assert asked(broken, RULES) is None


def chat(reason: str | None = "stop", **message: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "finish_reason": reason, "message": {"content": "Hi"} | message}]}


@pytest.mark.parametrize(
    ("operation", "answer", "whole"),
    [
        ("chat/completions", chat(), True),
        ("chat/completions", chat("length"), False),
        ("chat/completions", chat("content_filter"), False),
        ("chat/completions", chat(tool_calls=[{"id": "1"}]), False),
        ("chat/completions", chat(function_call={"name": "f"}), False),
        ("chat/completions", {"choices": []}, False),
        ("chat/completions", {"choices": 5}, False),
        ("completions", {"choices": [{"index": 0, "finish_reason": "stop", "text": "Hi"}]}, True),
        ("embeddings", {"data": [{"embedding": [1.0]}]}, True),
        ("embeddings", {"data": []}, False),
        ("responses", {"status": "completed", "output": [{"type": "reasoning"}, {"type": "message"}]}, True),
        ("responses", {"status": "completed", "output": [{"type": "function_call"}]}, False),
        ("responses", {"status": "incomplete", "output": [{"type": "message"}]}, False),
    ],
)
def test_whole_answers(operation: str, answer: dict[str, Any], whole: bool) -> None:
    """An answer is whole where it came to its own end and is text or vectors."""
    assert is_whole(operation, json.dumps(answer).encode(), streamed=False) is whole
    if operation == "responses":
        event = b"event: response.completed\ndata: " + json.dumps({"response": answer}).encode() + b"\n\n"
        assert is_whole(operation, event, streamed=True) is whole


@pytest.mark.parametrize(
    ("chunks", "whole"),
    [
        ([[{"delta": {"content": "Hi"}}], [{"delta": {}, "finish_reason": "stop"}], []], True),
        ([[{"delta": {"content": "Hi"}}]], False),
        ([[{"delta": {"content": "Hi"}}], [{"index": 1, "delta": {}, "finish_reason": "stop"}]], False),
        ([[{"delta": {"content": "Hi"}}], [{"delta": {}, "finish_reason": "length"}]], False),
        ([[{"delta": {"tool_calls": [{"index": 0}]}}], [{"delta": {}, "finish_reason": "stop"}]], False),
    ],
)
def test_whole_streams(chunks: list[Any], whole: bool) -> None:
    """A stream is whole where each of its choices stopped by itself and called nothing."""
    events = [b"data: " + json.dumps({"choices": choices}).encode() + b"\n\n" for choices in chunks]
    assert is_whole("chat/completions", b"".join(events) + b"data: [DONE]\n\n", streamed=True) is whole
