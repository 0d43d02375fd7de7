import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import openai
import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI

from local.simulator.server import Simulator, serve
from local.simulator.settings import BackendSettings
from local.simulator.tokens import Tokenizers

CHAT = "/openai/deployments/gpt-4o/chat/completions"
VERSION = "?api-version=2024-10-21"
BODY = {"messages": [{"role": "user", "content": "Hi"}]}

type Post = Callable[..., Awaitable[Any]]


@pytest.mark.parametrize(
    ("headers", "status", "says"),
    [
        ("", 401, b"Access denied due to invalid subscription key"),
        ("api-key: wrong\r\n", 401, b"Access denied due to invalid subscription key"),
        ("authorization: Bearer wrong\r\n", 401, b"Access token is missing, invalid"),
        ("api-key: made-up-key\r\n", 200, b"chat.completion"),
        ("authorization: Bearer made-up-key\r\n", 200, b"chat.completion"),
        ("authorization: Bearer a-token\r\n", 200, b"chat.completion"),
    ],
)
async def test_a_key_or_a_known_token_opens(post: Post, headers: str, status: int, says: bytes) -> None:
    """The key in either header and configured tokens are let in; all else is 401 in Azure's words."""
    reading = await post(CHAT + VERSION, BODY, headers)
    assert reading.status == status
    assert says in reading.data


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        (CHAT, BODY, 404, b"Resource not found"),
        ("/openai/deployments/gpt-9/chat/completions" + VERSION, BODY, 404, b"DeploymentNotFound"),
        ("/openai/deployments/gpt-4o/chat/unknown" + VERSION, BODY, 404, b"Resource not found"),
        ("/openai/deployments/gpt-4o/responses" + VERSION, BODY, 404, b"Resource not found"),
        ("/elsewhere" + VERSION, BODY, 404, b"Resource not found"),
        ("/openai/v1/chat/completions", BODY, 400, b"missing_required_parameter"),
        ("/openai/v1/chat/completions", {"model": "gpt-9", **BODY}, 404, b"DeploymentNotFound"),
        (CHAT + VERSION, {}, 400, b"missing_required_parameter"),
        (CHAT + VERSION, {"messages": "no list"}, 400, b"invalid_request_error"),
        (CHAT + VERSION, {"stream_options": {}, **BODY}, 400, b"only allowed when"),
        (CHAT + VERSION, {"tools": [{"function": {"name": 7}}], **BODY}, 400, b"Invalid request"),
        (
            "/openai/deployments/gpt-4o/completions?api-version=2023-05-15",
            {"stream_options": {}},
            400,
            b"unknown_param",
        ),
        ("/openai/responses" + VERSION, {"model": "gpt-4o"}, 400, b"missing_required_parameter"),
        ("/openai/v1/chat/completions", {"model": "gpt-4o", **BODY}, 200, b"chat.completion"),
    ],
)
async def test_requests_at_fault_are_told_so(post: Post, path: str, body: Any, status: int, says: bytes) -> None:
    """Paths, deployments and bodies that are wrong get the status and the code that Azure gives."""
    reading = await post(path, body)
    assert reading.status == status
    assert says in reading.data


async def test_a_body_that_is_no_json_is_refused(simulator: Simulator, azure: AsyncAzureOpenAI) -> None:
    """Bytes that do not parse are a 400 of the invalid_request_error type."""
    with pytest.raises(openai.BadRequestError, match="could not parse"):
        await azure.post(
            "/deployments/gpt-4o/chat/completions",
            cast_to=object,
            content=b"{never",
            options={"headers": {"content-type": "application/json"}},
        )


async def test_models_are_listed_in_both_forms(azure: AsyncAzureOpenAI, v1: AsyncOpenAI) -> None:
    """Both URL forms list each model once, and the v1 form retrieves one."""
    names = {model.id for model in (await azure.models.list()).data}
    assert names == {model.id for model in (await v1.models.list()).data}
    assert names == {"gpt-4o-2024-11-20", "o4-mini-2025-04-16", "text-embedding-3-small"}
    assert (await v1.models.retrieve("o4-mini-2025-04-16")).object == "model"
    with pytest.raises(openai.NotFoundError):
        await v1.models.retrieve("gpt-9")


async def test_requests_are_kept_without_credentials(simulator: Simulator, post: Post) -> None:
    """A test can see what arrived and which kind of credential came, never the credential."""
    await post(CHAT + VERSION, BODY, "api-key: made-up-key\r\nx-test: 7\r\n")
    seen = simulator.requests[-1].document()
    assert (seen["method"], seen["path"], seen["query"]) == ("POST", CHAT, {"api-version": "2024-10-21"})
    assert (seen["credential"], seen["body"], seen["status"]) == ("api-key", BODY, 200)
    assert seen["headers"]["x-test"] == "7"
    assert "made-up-key" not in str(seen)


async def test_a_body_above_the_bound_is_refused(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is too large is not read to its end, and is 413."""
    monkeypatch.setattr("local.simulator.exchange.MAX_BODY_BYTES", 10)
    assert (await post(CHAT + VERSION, BODY)).status == 413


async def test_a_backend_takes_its_time(settings: BackendSettings, tokenizers: Tokenizers) -> None:
    """The first token comes after the latency, each further one after its delay, streamed or not."""
    paced = msgspec.structs.replace(settings, latency_ms=50, token_delay_ms=10)
    async with (
        serve(paced, tokenizers=tokenizers) as simulator,
        AsyncOpenAI(base_url=f"{simulator.url}/openai/v1/", api_key=settings.api_key) as client,
    ):
        for stream in (False, True):
            began = time.monotonic()
            answer: Any = await client.chat.completions.create(
                model="gpt-4o", messages=[{"role": "user", "content": "Count one two three"}], stream=stream
            )
            if stream:
                arrivals = [time.monotonic() - began async for _ in answer]
                assert arrivals[0] >= 0.04
                assert arrivals[-1] - arrivals[0] >= 0.03
            assert time.monotonic() - began >= 0.08
