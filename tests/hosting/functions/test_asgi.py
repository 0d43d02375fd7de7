"""The bridge in one process; tests/hosting/worker holds it against the real worker."""

import asyncio
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import azure.functions as func
import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from hosting.functions.asgi import FinishedInvocations, StreamingAsgiMiddleware

CONTEXT = SimpleNamespace(invocation_id="id-1", function_name="http_app")


def worker_scope() -> Scope:
    """Return what the worker's own server and app have put into a request's scope."""
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "https",
        "path": "/x",
        "raw_path": b"/x",
        "query_string": b"",
        "root_path": "/worker",
        "headers": [(b"host", b"h"), (b"x-ms-invocation-id", b"id-1")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
        "extensions": {"http.response.debug": {}},
        "app": "the worker's own",
        "path_params": {"path": "x"},
    }


async def nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the keys of the scope; takes no lifespan events."""
    assert scope["type"] == "http"
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": repr(sorted(scope)).encode()})


async def test_streams_inside_the_invocation() -> None:
    """All was sent when the invocation ends, and the response that the worker gets sends nothing more."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    http = StreamingAsgiMiddleware(echo)
    response = await http.handle_async(Request(worker_scope(), nothing, send), CONTEXT)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert isinstance(response, Response)
    await response(worker_scope(), nothing, send)
    assert len(sent) == 2
    keys = sent[1]["body"].decode()
    assert "'app'" not in keys
    assert "'azure_functions.invocation_id'" in keys
    assert "'extensions'" in keys
    await http.stop()


async def test_request_without_send() -> None:
    """Where a request hides its send, the response that the worker gets runs the app."""

    class Sealed:
        def __init__(self) -> None:
            self.scope = worker_scope()
            self.receive = nothing

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    http = StreamingAsgiMiddleware(echo)
    request: Any = Sealed()
    response = await http.handle_async(request, CONTEXT)
    assert not sent
    assert isinstance(response, Response)
    await response(worker_scope(), nothing, send)
    assert len(sent) == 2
    await http.stop()


async def test_buffered_request() -> None:
    """An azure.functions request is answered whole, also without a context."""
    app = FastAPI()

    @app.get("/x")
    async def x() -> str:
        return "whole"

    http = StreamingAsgiMiddleware(app)
    await http.started()
    response = await http.handle_async(func.HttpRequest(method="GET", url="http://h/x", body=b""))
    assert isinstance(response, func.HttpResponse)
    assert response.get_body() == b'"whole"'
    await http.stop()


async def test_state_is_copied_per_request() -> None:
    """What a request puts into its state is not seen by the next."""
    seen: list[dict[str, Any]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            scope["state"]["pool"] = "POOL"
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            return
        seen.append(dict(scope["state"]))
        scope["state"]["mine"] = True
        await echo(scope, receive, send)

    async def send(_message: Message) -> None:
        await asyncio.sleep(0)

    http = StreamingAsgiMiddleware(app)
    for _ in range(2):
        await http.handle_async(Request(worker_scope(), nothing, send), CONTEXT)
    assert seen == [{"pool": "POOL"}, {"pool": "POOL"}]
    await http.stop()


def reference(*, taken: bool) -> SimpleNamespace:
    """Return what the worker keeps of a request whose response was set, and taken or not."""
    return SimpleNamespace(
        http_response=None if taken else "response", http_response_available_event=SimpleNamespace(is_set=lambda: True)
    )


def test_finished_invocations_are_dropped_once_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry goes when the worker has taken its response, however late; running ones and strange ones stay."""
    module = ModuleType("azure_functions_runtime.http_v2")
    references: dict[str, Any] = {"a": reference(taken=True), "b": reference(taken=False), "running": object()}
    setattr(module, "http_coordinator", SimpleNamespace(_context_references=references))  # noqa: B010 - a module takes it
    monkeypatch.setitem(sys.modules, module.__name__, module)
    finished = FinishedInvocations()
    for invocation in ("a", "b", "c"):
        finished.add(invocation)
    assert set(references) == {"b", "running"}
    references["b"] = reference(taken=True)
    finished.add("d")
    assert set(references) == {"running"}


def test_nothing_to_drop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the worker's table, or with one of another make, nothing is done."""
    monkeypatch.setitem(sys.modules, "azure_functions_runtime.http_v2", ModuleType("other"))
    monkeypatch.delitem(sys.modules, "azure_functions_worker.http_v2", raising=False)
    FinishedInvocations().add("a")
