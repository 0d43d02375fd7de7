"""Clients of the gateway in this process, with the real SDK."""

import json

import pytest
from starlette.types import Receive, Scope, Send

from hosting.services.models import Models

EMBEDDING = {"object": "list", "model": "m", "data": [], "usage": {"prompt_tokens": 1, "total_tokens": 1}}


class Recorder:
    """A gateway that keeps scopes and answers every call with an empty list of embeddings, or with a 429."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.scopes: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["more_body"] is False
        self.scopes.append(scope)
        headers = [(b"content-type", b"application/json"), (b"set-cookie", b"session=theirs")]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(EMBEDDING).encode()})


async def test_callers_are_kept_apart() -> None:
    """Each client's calls carry its own caller, and nothing that an answer left with another client."""
    gateway = Recorder()
    models = Models(gateway=gateway)
    for caller in ("one", "two"):
        async with models.for_caller(caller) as client:
            await client.embeddings.create(model="m", input="x", encoding_format="float")
    assert [scope["tollgate.caller"] for scope in gateway.scopes] == ["one", "two"]
    assert all(scope["path"] == "/openai/v1/embeddings" for scope in gateway.scopes)
    assert not any(name == b"cookie" for scope in gateway.scopes for name, _ in scope["headers"])


async def test_the_environment_leads_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a proxy nor another base URL in the environment takes a call away from the gateway."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9")
    gateway = Recorder()
    async with Models(gateway=gateway).for_caller("one") as client:
        await client.embeddings.create(model="m", input="x", encoding_format="float")
    assert len(gateway.scopes) == 1


async def test_only_the_gateway_retries() -> None:
    """A refused call reaches the gateway once."""
    gateway = Recorder(status=503)
    async with Models(gateway=gateway).for_caller("one") as client:
        with pytest.raises(Exception, match="503"):
            await client.embeddings.create(model="m", input="x", encoding_format="float")
    assert len(gateway.scopes) == 1
