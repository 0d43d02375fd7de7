"""Exchanges without streams."""

import asyncio
import logging

import azure.functions as func
import pytest
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from hosting.functions.buffered import exchange, scope_of


def request(url: str = "https://gateway.example:8443/a%2Fb?x=1&x=2", body: bytes = b"body") -> func.HttpRequest:
    return func.HttpRequest(method="post", url=url, headers={"API-Key": "k", "x-name": "Zoë"}, body=body)


def test_scope() -> None:
    """The scope keeps the encoded path, the whole query, the port and every header byte."""
    scope = scope_of(request())
    assert scope["raw_path"] == b"/a%2Fb"
    assert scope["path"] == "/a/b"
    assert scope["query_string"] == b"x=1&x=2"
    assert scope["server"] == ("gateway.example", 8443)
    assert scope["method"] == "POST"
    assert scope["asgi"]["version"] == "3.0"
    assert set(scope["headers"]) == {(b"api-key", b"k"), (b"x-name", "Zoë".encode())}


def test_scope_of_plain_host() -> None:
    """Without a port in the URL the scheme's own is taken; without a host there is no server."""
    assert scope_of(request("https://gateway.example/"))["server"] == ("gateway.example", 443)
    assert scope_of(request("/only/a/path"))["server"] is None


async def test_repeated_headers() -> None:
    """Cookies leave one by one, other repeated headers joined."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        headers = [(b"set-cookie", b"a=1"), (b"Vary", b"x"), (b"set-cookie", b"b=2"), (b"vary", b"y")]
        await send({"type": "http.response.start", "status": 207, "headers": headers})
        await send({"type": "http.response.body", "body": b"one ", "more_body": True})
        await send({"type": "http.response.body", "body": b"two"})

    response = await exchange(app, request(), {})
    assert response.headers.get_all("set-cookie") == ["a=1", "b=2"]
    assert response.headers["vary"] == "x, y"
    assert (response.status_code, response.get_body()) == (207, b"one two")


async def test_receive_waits_for_the_end() -> None:
    """The body comes once and whole; the disconnect comes when the answer is complete, not before."""
    received = []

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        received.append(await receive())
        disconnect = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        assert not disconnect.done()
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})
        received.append(await disconnect)

    await exchange(app, request(), {})
    assert received == [
        {"type": "http.request", "body": b"body", "more_body": False},
        {"type": "http.disconnect"},
    ]


async def test_app_error_keeps_its_own_answer(caplog: pytest.LogCaptureFixture) -> None:
    """FastAPI's 500 reaches the caller although the exception goes on, and the exception is logged."""
    app = FastAPI()

    @app.post("/a/b")
    async def broken() -> None:
        raise RuntimeError("on purpose")

    with caplog.at_level(logging.ERROR):
        response = await exchange(app, request(), {})
    assert (response.status_code, response.get_body()) == (500, b"Internal Server Error")
    assert "on purpose" in caplog.text


async def test_incomplete_answer_is_an_error() -> None:
    """An app that ends or raises before its answer is complete fails the invocation."""

    async def silent(_scope: Scope, _receive: Receive, _send: Send) -> None:
        return None

    async def breaks(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        raise KeyError("midway")

    with pytest.raises(RuntimeError, match="before its answer was complete"):
        await exchange(silent, request(), {})
    with pytest.raises(KeyError, match="midway"):
        await exchange(breaks, request(), {})


async def test_messages_out_of_order() -> None:
    """A body before its start, or a second start, is an error in the app."""

    async def body_first(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.body"})

    with pytest.raises(RuntimeError, match="out of order"):
        await exchange(body_first, request(), {})
