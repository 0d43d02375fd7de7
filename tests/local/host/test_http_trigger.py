"""Routes of HTTP triggers; tests/hosting/worker holds the rest against the real worker."""

import asyncio
from pathlib import Path
from typing import Any

import azure.functions as func
import pytest
from starlette.responses import PlainTextResponse, Response
from starlette.types import Message

from local.host.http_trigger import HttpTriggers, path_pattern
from local.host.invocations import Function, NotServable


@pytest.mark.parametrize(
    ("template", "path", "parameters"),
    [
        ("/{*path}", "/", {"path": ""}),
        ("/{*path}", "/a/b%2Fc/", {"path": "a/b%2Fc/"}),
        ("/api/{*rest}", "/api", {"rest": None}),
        ("/api/{*rest}", "/apis", None),
        ("/items/{id:int}", "/Items/7", {"id": "7"}),
        ("/items/{id?}", "/items", {"id": None}),
        ("/items/{id}", "/items/7/8", None),
        ("/a.b", "/axb", None),
    ],
)
def test_path_pattern(template: str, path: str, parameters: dict[str, str] | None) -> None:
    """Templates match as on the Functions host."""
    match = path_pattern(template).fullmatch(path)
    assert (match.groupdict() if match else None) == parameters


def functions() -> list[Function]:
    """Register three functions whose routes overlap."""
    app = func.FunctionApp()

    @app.route(route="{*path}", methods=["GET", "POST"])
    async def everything(req: Any) -> Response:
        return PlainTextResponse(f"everything {req.path_params['path']}")

    @app.route(route="items/{id}", methods=["GET"])
    def item(req: Any, context: func.Context) -> Response:
        return PlainTextResponse(f"{context.function_name} {req.path_params['id']} {len(context.invocation_id)}")

    @app.route()
    async def named(req: Any) -> str:
        return str(req.method)

    return [Function(registered, Path("/app")) for registered in app.get_functions()]


async def ask(triggers: HttpTriggers, method: str, path: str) -> tuple[int, str]:
    """Send one request through the ASGI app and return status and body."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "scheme": "http",
        "server": ("127.0.0.1", 7071),
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [],
    }
    await triggers(scope, receive, send)
    return sent[0]["status"], b"".join(message["body"] for message in sent[1:]).decode()


async def test_most_precise_route_wins() -> None:
    """A literal comes before a parameter, and both before the rest of the path."""
    triggers = HttpTriggers(functions(), "", streams=True)
    assert await ask(triggers, "GET", "/items/7") == (200, "item 7 32")
    assert await ask(triggers, "POST", "/items/7") == (200, "everything items/7")
    assert await ask(triggers, "GET", "/") == (200, "everything ")


async def test_nothing_serves_it() -> None:
    """A method that no function takes is 404, as on the real host, and so are the host's own paths."""
    triggers = HttpTriggers(functions(), "", streams=True)
    for method, path in [("DELETE", "/items/7"), ("GET", "/admin/host/status"), ("GET", "/runtime")]:
        assert await ask(triggers, method, path) == (404, "")
    assert (await ask(triggers, "GET", "/administration"))[0] == 200


async def test_route_prefix() -> None:
    """With a prefix only what lies under it is served."""
    triggers = HttpTriggers(functions(), "api", streams=True)
    assert await ask(triggers, "GET", "/api/items/7") == (200, "item 7 32")
    assert await ask(triggers, "GET", "/items/7") == (404, "")


async def test_answer_of_another_kind() -> None:
    """A function that answers with something else is told what is missing, in either mode."""
    for streams in (True, False):
        with pytest.raises(NotServable, match="named must answer"):
            await ask(HttpTriggers(functions(), "", streams=streams), "PUT", "/named")


def test_other_bindings_are_refused() -> None:
    """A function with an output binding is refused by name, since nothing here would carry it out."""
    app = func.FunctionApp()

    @app.route(route="x")
    @app.queue_output(arg_name="queue", queue_name="q", connection="AzureWebJobsStorage")
    def x(req: func.HttpRequest, queue: func.Out[str]) -> None: ...

    with pytest.raises(NotServable, match=r"x: .*\['queue'\]"):
        Function(app.get_functions()[0], Path("/app"))


async def test_invocations_run_side_by_side() -> None:
    """A synchronous function does not hold up the loop."""
    triggers = HttpTriggers(functions(), "", streams=True)
    answers = await asyncio.gather(*(ask(triggers, "GET", f"/items/{number}") for number in range(10)))
    assert [body.split()[1] for _, body in answers] == [str(number) for number in range(10)]
