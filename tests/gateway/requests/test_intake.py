"""What becomes of a request before it goes anywhere: what is refused, and what of it goes upstream."""

import json
from collections.abc import MutableMapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.call import Call
from gateway.catalog.catalog import Catalog
from gateway.catalog.catalog_file import load_catalog
from gateway.errors import (
    BodyTooLarge,
    CallerLeft,
    DeploymentNotFound,
    EncodingNotSupported,
    Forbidden,
    GatewayError,
    InvalidRequest,
    MethodNotAllowed,
    OperationNotFound,
)
from gateway.identity.callers import Caller
from gateway.requests.bodies import BodyRules
from gateway.requests.intake import Intake
from gateway.requests.operations import target
from gateway.routing.affinity import Affinity
from seams.clock import SystemClock
from tests.gateway.memory_tables import MemoryTables

LIMIT = 2000
CONTENT: dict[str, Any] = {
    "backends": {"b": {"endpoint": "https://b.example"}},
    "deployments": {name: {"model": "gpt-4o", "pool": [{"backend": "b"}]} for name in ("gpt-4o", "other")},
    "subscriptions": {"team": {"deployments": ["gpt-4o"]}},
}
CATALOG: Catalog = load_catalog(json.dumps(CONTENT), lambda _: None)
CHAT = "/openai/deployments/gpt-4o/chat/completions"
V1 = "/openai/v1/chat/completions"
HELLO = b'{"messages":[]}'


async def call(
    body: bytes = HELLO,
    path: str = CHAT,
    *,
    method: str = "POST",
    query: bytes = b"api-version=2024-10-21",
    headers: dict[bytes, bytes] | None = None,
    caller: Caller | None = None,
) -> Call:
    intake = Intake(CATALOG, Affinity(MemoryTables(), SystemClock()), SystemClock(), BodyRules(LIMIT, 5))
    scope: MutableMapping[str, Any] = {
        "method": method,
        "query_string": query,
        "headers": list((headers or {b"content-type": b"application/json"}).items()),
    }

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": body}

    caller = caller or Caller(CATALOG.subscriptions["team"])
    return await intake.call("id", caller, target(path), scope, receive)


async def test_a_plain_call() -> None:
    """A call that needs no change keeps its bytes, its query and its deployment."""
    made = await call()
    assert (made.body, made.query, made.method) == (HELLO, "api-version=2024-10-21", "POST")
    assert made.deployment.name == "gpt-4o"
    assert made.subscription.name == "team"
    assert not made.hide_usage


async def test_the_body_names_the_model() -> None:
    """On a path without a deployment the body's model is it."""
    assert (await call(b'{"model":"gpt-4o"}', V1)).deployment.name == "gpt-4o"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"body": b"", "path": V1}, InvalidRequest),
        ({"body": b""}, InvalidRequest),
        ({"body": b"hello"}, InvalidRequest),
        ({"body": b"{}", "path": V1}, InvalidRequest),
        ({"body": b'{"model":""}', "path": V1}, InvalidRequest),
        ({"body": b'{"model":null}', "path": V1}, InvalidRequest),
        ({"body": b'{"model":"\xff"}', "path": V1}, InvalidRequest),
        ({"body": b'{"model":"nowhere"}', "path": V1}, DeploymentNotFound),
        ({"path": "/deployments/nowhere/chat/completions"}, DeploymentNotFound),
        ({"path": "/deployments/%7b0%7d/chat/completions"}, DeploymentNotFound),
        ({"body": b'{"model":"other"}', "path": V1}, Forbidden),
        ({"path": "/deployments/other/chat/completions"}, Forbidden),
        ({"caller": Caller(None)}, Forbidden),
        ({"method": "GET"}, MethodNotAllowed),
        ({"method": "DELETE", "path": V1}, MethodNotAllowed),
        ({"method": "GET", "path": "/v1/files"}, OperationNotFound),
        ({"body": b" " * (LIMIT + 1)}, BodyTooLarge),
        ({"headers": {b"content-length": str(LIMIT + 1).encode()}}, BodyTooLarge),
        ({"headers": {b"content-length": b"9" * 5000}}, BodyTooLarge),
        ({"headers": {b"content-encoding": b"gzip"}}, EncodingNotSupported),
    ],
)
async def test_requests_that_are_refused(options: dict[str, Any], error: type[GatewayError]) -> None:
    """Each kind of request that cannot be sent on has its own error, in words of bounded length."""
    with pytest.raises(error) as caught:
        await call(**options)
    assert len(caught.value.message) < 500


async def test_a_caller_that_leaves() -> None:
    """A caller that leaves before its body has come made no call."""
    intake = Intake(CATALOG, Affinity(MemoryTables(), SystemClock()), SystemClock(), BodyRules(LIMIT, 5))

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.disconnect"}

    scope = {"method": "POST", "query_string": b"", "headers": []}
    with pytest.raises(CallerLeft):
        await intake.call("id", Caller(CATALOG.subscriptions["team"]), target(CHAT), scope, receive)


async def test_headers_by_allow_list() -> None:
    """Credentials, cookies, hop-by-hop and forwarding headers stay here; what backends act on goes along."""
    kept = {
        b"accept": b"text/event-stream",
        b"content-type": b"application/json; charset=utf-8",
        b"idempotency-key": b"i",
        b"openai-beta": b"x",
        b"traceparent": b"00-1",
        b"x-ms-client-request-id": b"c",
    }
    dropped = {
        b"authorization": b"Bearer secret",
        b"api-key": b"secret",
        b"ocp-apim-subscription-key": b"secret",
        b"cookie": b"secret",
        b"host": b"evil",
        b"connection": b"keep-alive, api-key",
        b"transfer-encoding": b"chunked",
        b"content-length": b"15",
        b"x-forwarded-for": b"1.2.3.4",
        b"x-ms-spillover-deployment": b"other",
        b"accept-encoding": b"gzip",
    }
    made = await call(headers={**dropped, **kept})
    assert made.headers == {
        **{name.decode(): value.decode() for name, value in kept.items()},
        "content-type": "application/json",
        "user-agent": "tollgate",
        "accept-encoding": "identity",
    }
    assert "secret" not in str(made.headers)


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        (b"api-version=2024-10-21&x=%20%2F", "api-version=2024-10-21&x=%20%2F"),
        (b"a=b c", "a=b%20c"),
        (b"a=b\r\nHost: evil", "a=b%0D%0AHost:%20evil"),
        (b"a=#fragment", "a=%23fragment"),
        (b"a=\xe9\x00", "a=%E9%00"),
        (b"", ""),
    ],
)
async def test_queries_stay_in_their_line(query: bytes, sent: str) -> None:
    """What is escaped stays as it is; what would end the URL or the request line is escaped."""
    assert (await call(query=query)).query == sent


@given(st.binary(max_size=60))
async def test_any_query_is_plain(query: bytes) -> None:
    """Whatever a query holds, it goes upstream as printable ASCII without blanks."""
    sent = (await call(query=query)).query
    assert sent.isascii()
    assert not sent or sent.isprintable()
    assert not set(sent) & set(' #"<>')


@pytest.mark.parametrize(
    ("path", "query", "body", "hidden"),
    [
        (CHAT, b"api-version=2024-10-21", b'{"stream":true}', True),
        (CHAT, b"x=1&api-version=2024-08-01-preview", b'{"stream":true}', True),
        (CHAT.replace("chat", "Chat"), b"api-version=2024-10-21", b'{"stream":true}', True),
        (CHAT, b"api-version=2024-06-01", b'{"stream":true}', False),
        (CHAT, b"", b'{"stream":true}', False),
        (CHAT, b"api-version=2024-10-21", b'{"stream":false}', False),
        (CHAT, b"api-version=2024-10-21", b"{}", False),
        (CHAT, b"api-version=2024-10-21", b'{"stream":true,"stream_options":{"include_usage":true}}', False),
        (CHAT, b"api-version=2024-10-21", b'{"stream":true,"stream_options":{"include_usage":false}}', True),
        (V1, b"", b'{"stream":true,"model":"gpt-4o"}', True),
        ("/v1/responses", b"", b'{"stream":true,"model":"gpt-4o"}', False),
        ("/deployments/gpt-4o/embeddings", b"api-version=2024-10-21", b'{"stream":true}', False),
    ],
)
async def test_when_usage_is_asked_for(path: str, query: bytes, body: bytes, hidden: bool) -> None:
    """Usage is asked for on the caller's behalf where the API has it and the caller did not; else the body stays."""
    made = await call(body, path, query=query)
    assert made.hide_usage is hidden
    if hidden:
        assert json.loads(made.body)["stream_options"]["include_usage"] is True
    else:
        assert made.body == body


@pytest.mark.parametrize(
    "content_type", [b"multipart/form-data; boundary=x", b"audio/wav", b"application/octet-stream"]
)
async def test_bodies_that_are_not_json_pass(content_type: bytes) -> None:
    """A body of another kind is not looked into, and keeps its type."""
    path = "/deployments/gpt-4o/audio/transcriptions"
    made = await call(b"\x00\xff", path, headers={b"content-type": content_type})
    assert made.upload is not None
    assert b"".join([piece async for piece in made.upload.to("other")]) == b"\x00\xff"
    made.upload.close()
    assert made.headers["content-type"] == content_type.decode()


@pytest.mark.parametrize("path", [V1, "/v1/Audio/Speech"])
async def test_json_is_json_by_its_operation(path: str) -> None:
    """What is counted and checked by its JSON is read as such, whatever its content type says."""
    made = await call(b'{"model": "gpt-4o"}', path, headers={b"content-type": b"audio/wav"})
    assert made.upload is None
    assert made.headers["content-type"] == "application/json"


@pytest.mark.parametrize("method", ["GET", "DELETE", "POST"])
async def test_other_operations_need_no_body(method: str) -> None:
    """An operation that we do not know passes with and without a body."""
    made = await call(b"", "/deployments/gpt-4o/fine_tuning/jobs", method=method)
    assert made.body == b""


async def test_json_of_any_type_becomes_json() -> None:
    """A JSON body with curl's default type goes upstream as JSON."""
    made = await call(headers={b"content-type": b"application/x-www-form-urlencoded"})
    assert made.headers["content-type"] == "application/json"
