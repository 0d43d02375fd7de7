"""The official SDKs and raw HTTP through a running gateway."""

import json
from typing import Any

import httpx2
import openai
import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel

HELLO: Any = [{"role": "user", "content": "The printer on floor three is on fire. Please send somebody."}]
AZURE_STYLE = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
MANAGEMENT_STYLE = "/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather of a city",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


class Triage(BaseModel):
    category: str
    urgent: bool


def clients(gateway: Any) -> list[AsyncOpenAI]:
    return [gateway.azure(), gateway.openai(), gateway.openai(path="/v1/")]


async def post(gateway: Any, path: str, **options: Any) -> httpx2.Response:
    async with httpx2.AsyncClient(base_url=gateway.url, timeout=10) as client:
        return await client.post(path, **options)


async def test_chat_by_every_client(gateway: Any) -> None:
    """AzureOpenAI and OpenAI, on both v1 paths, get the backend's answer and the gateway's headers."""
    for client in clients(gateway):
        raw = await client.chat.completions.with_raw_response.create(model="gpt-4o", messages=HELLO)
        answer = raw.parse()
        assert "printer" in (answer.choices[0].message.content or "")
        assert answer.usage is not None
        assert answer.usage.prompt_tokens == 20
        assert raw.headers["x-gateway-backend"] == "first"
        assert raw.headers["x-gateway-attempts"] == "1"
        assert raw.headers["x-ms-region"] == "East US"
        assert raw.headers["x-request-id"]


async def test_streamed_chat_by_every_client(gateway: Any) -> None:
    """A stream that did not ask for usage shows none, and its text is the answer's."""
    for client in clients(gateway):
        whole = await client.chat.completions.create(model="gpt-4o", messages=HELLO)
        text = ""
        async for chunk in await client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True):
            assert chunk.usage is None
            text += chunk.choices[0].delta.content or "" if chunk.choices else ""
        assert text == whole.choices[0].message.content


async def test_usage_that_was_asked_for_is_passed_on(gateway: Any) -> None:
    """With include_usage the caller sees the usage chunk; with false it does not."""
    create = gateway.azure().chat.completions.create
    for wanted in (True, False):
        stream = await create(model="gpt-4o", messages=HELLO, stream=True, stream_options={"include_usage": wanted})
        usages = [chunk.usage async for chunk in stream if chunk.usage is not None]
        assert [usage.prompt_tokens for usage in usages] == ([20] if wanted else [])
    events = await gateway.settled(2)
    assert [event.meters.prompt_tokens for event in events] == [20, 20]
    assert not any(event.estimated for event in events)


async def test_tools_and_structured_output(gateway: Any) -> None:
    """Tool calls, streamed and not, and a parsed schema come through unchanged."""
    for client in clients(gateway):
        question: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
        answer = await client.chat.completions.create(
            model="gpt-4o", messages=question, tools=TOOLS, tool_choice="required"
        )
        call = answer.choices[0].message.tool_calls[0]  # type: ignore[index] # absent is a failure, too
        assert set(json.loads(call.function.arguments)) == {"city"}  # type: ignore[union-attr] # the one tool is a function
        parsed = await client.chat.completions.parse(model="gpt-4o", messages=HELLO, response_format=Triage)
        assert isinstance(parsed.choices[0].message.parsed, Triage)


async def test_embeddings_and_responses_by_every_client(gateway: Any) -> None:
    """Embeddings, Responses as JSON and as a stream, and the list of models work with each SDK client."""
    for client in clients(gateway):
        embedded = await client.embeddings.create(model="embed", input=["one", "two"])
        assert len(embedded.data) == 2
        response = await client.responses.create(model="gpt-4o", input="Hello there")
        assert response.output_text
        kinds = [event.type async for event in await client.responses.create(model="gpt-4o", input="Hi", stream=True)]
        assert kinds[-1] == "response.completed"
        assert [model.id async for model in client.models.list()] == ["gpt-4o", "gpt-5-mini", "embed"]
        assert (await client.models.retrieve("embed")).id == "embed"


async def test_each_answer_is_one_usage_event(gateway: Any) -> None:
    """Counts, operation, model, backend and subscription of each answered call are in its event."""
    client = gateway.openai()
    raw = await client.chat.completions.with_raw_response.create(model="gpt-5-mini", messages=HELLO)
    usage = raw.parse().usage
    await client.embeddings.create(model="embed", input=["one", "two"])
    async for _ in await client.responses.create(model="gpt-4o", input="Hi", stream=True):
        pass
    chat, embedding, response = await gateway.settled(3)
    assert chat.id == raw.headers["x-request-id"]
    assert (chat.subscription, chat.cost_centre, chat.backend) == ("team-a", "4711", "first")
    assert (chat.model, chat.model_version, chat.deployment) == ("gpt-5-mini", "2025-08-07", "gpt-5-mini")
    assert chat.meters.reasoning_tokens == usage.completion_tokens_details.reasoning_tokens > 0
    assert (embedding.operation, embedding.meters.completion_tokens) == ("embeddings", 0)
    assert (response.operation, response.streamed, response.outcome) == ("responses", True, "completed")
    assert response.meters.prompt_tokens > 0


@pytest.mark.parametrize("name", ["Ocp-Apim-Subscription-Key", "api-key", "Authorization"])
@pytest.mark.parametrize("path", [AZURE_STYLE, MANAGEMENT_STYLE])
async def test_keys_as_curl_sends_them(gateway: Any, name: str, path: str) -> None:
    """Each key header works on each path with a deployment in it, with curl's default content type."""
    key = "Bearer sk-team-a" if name == "Authorization" else "sk-team-a"
    headers = {name: key, "content-type": "application/x-www-form-urlencoded"}
    answer = await post(gateway, path, headers=headers, content=json.dumps({"messages": HELLO}))
    assert answer.status_code == 200
    assert answer.json()["object"] == "chat.completion"


async def test_what_goes_upstream(gateway: Any) -> None:
    """The caller's credentials and spillover header stay here; the backend sees its own key and the caller's bytes."""
    body = b'{ "messages": [ {"role": "user", "content": "caf\\u00e9 1.50"} ],  "temperature": 1.50 }'
    headers = {"api-key": "sk-team-a", "x-ms-spillover-deployment": "other", "x-forwarded-for": "1.2.3.4"}
    await post(gateway, AZURE_STYLE, headers=headers, content=body)
    seen = gateway.simulators["first"].requests[-1]
    assert seen.body == body
    assert dict(seen.headers).keys() <= {
        b"accept-encoding",
        b"host",
        b"api-key",
        b"user-agent",
        b"content-type",
        b"content-length",
        b"accept",
    }
    assert b"sk-team-a" not in b"".join(value for _, value in seen.headers)


async def test_errors_are_the_sdks_own_classes(gateway: Any) -> None:
    """Wrong key, forbidden and unknown deployment, and a refused body raise what the SDK has for them."""
    with pytest.raises(openai.AuthenticationError):
        await gateway.azure(key="nobody's").chat.completions.create(model="gpt-4o", messages=HELLO)
    with pytest.raises(openai.PermissionDeniedError, match="ask the platform team"):
        await gateway.openai(key="sk-team-b").chat.completions.create(model="gpt-4o", messages=HELLO)
    with pytest.raises(openai.PermissionDeniedError, match="operator"):
        await gateway.openai(key="sk-operator").chat.completions.create(model="gpt-4o", messages=HELLO)
    with pytest.raises(openai.NotFoundError) as missing:
        await gateway.openai().chat.completions.create(model="gpt-9", messages=HELLO)
    assert missing.value.code == "DeploymentNotFound"
    marked: Any = [{"role": "user", "content": "content-filter-me"}]
    with pytest.raises(openai.BadRequestError) as filtered:
        await gateway.azure().chat.completions.create(model="gpt-4o", messages=marked)
    assert filtered.value.code == "content_filter"
    assert filtered.value.request_id
    assert [event.status for event in await gateway.settled(1)] == [400]


async def test_models_of_a_subscription(gateway: Any) -> None:
    """A subscription sees the deployments that it may use, and no others by name."""
    client = gateway.openai(key="sk-team-b")
    assert [model.id async for model in client.models.list()] == ["embed"]
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("gpt-4o")


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        (AZURE_STYLE, b"not json", 400, "invalid_request"),
        (AZURE_STYLE, b"[]", 400, "invalid_request"),
        (AZURE_STYLE, b"", 400, "invalid_request"),
        (AZURE_STYLE, b'{"stream": "yes"}', 400, "invalid_request"),
        ("/openai/v1/chat/completions", b"{}", 400, "invalid_request"),
        ("/openai/v1/chat/completions", b'{"model": "gpt-9"}', 404, "DeploymentNotFound"),
        ("/deployments/gpt-9/chat/completions", b"{}", 404, "DeploymentNotFound"),
        ("/openai/deployments/gpt-4o/../gpt-9", b"{}", 404, "operation_not_found"),
        ("/openai/deployments/gpt-4o/%2e%2e/x", b"{}", 404, "operation_not_found"),
        ("/openai/v1/", b"{}", 404, "operation_not_found"),
    ],
)
async def test_bad_requests(gateway: Any, path: str, body: bytes, status: int, code: str) -> None:
    """What cannot be understood is refused in OpenAI's shape, reaches no backend and makes no usage event."""
    answer = await post(gateway, path, headers={"api-key": "sk-team-a"}, content=body)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert error["code"] == code
    assert set(error) == {"message", "type", "param", "code"}
    assert answer.headers["x-request-id"]
    assert not gateway.simulators["first"].requests
    assert not gateway.events


async def test_too_large_bodies(gateway: Any) -> None:
    """A body over the limit is refused, whether its length is announced or not."""
    large = b'{"messages": "' + b"x" * 1_000_000 + b'"}'

    async def pieces() -> Any:
        for start in range(0, len(large), 65_536):
            yield large[start : start + 65_536]

    for content in (large, pieces()):
        answer = await post(gateway, AZURE_STYLE, headers={"api-key": "sk-team-a"}, content=content)
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "request_too_large"
    compressed = {"api-key": "sk-team-a", "content-encoding": "gzip"}
    assert (await post(gateway, AZURE_STYLE, headers=compressed, content=b"x")).status_code == 415


async def test_methods(gateway: Any) -> None:
    """Operations take POST and models take GET; anything else says what is allowed."""
    async with httpx2.AsyncClient(base_url=gateway.url, headers={"api-key": "sk-team-a"}) as client:
        answer = await client.get("/openai/v1/chat/completions")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
        answer = await client.post("/v1/models")
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
        assert (await client.get("/openai/v1/files")).status_code == 404


async def test_unknown_operations_pass(gateway: Any) -> None:
    """An operation the gateway does not know reaches the backend as it is and is metered by request."""
    headers = {"api-key": "sk-team-a", "content-type": "multipart/form-data; boundary=x"}
    answer = await post(gateway, "/openai/deployments/gpt-4o/audio/anything", headers=headers, content=b"--x\r\nraw")
    assert answer.json()["error"]["message"] == "Resource not found"
    seen = gateway.simulators["first"].requests[-1]
    assert (seen.path, seen.body) == ("/openai/deployments/gpt-4o/audio/anything", b"--x\r\nraw")
    (event,) = await gateway.settled(1)
    assert (event.operation, event.status, event.meters.prompt_tokens) == ("audio/anything", 404, 0)
