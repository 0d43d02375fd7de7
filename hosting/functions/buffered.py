"""One HTTP exchange without streams: azure.functions.HttpRequest in, a whole azure.functions.HttpResponse out.

The scope and the response keep what azure.functions' own middleware loses: `%2F` in `raw_path`, `scope["asgi"]`,
repeated response headers, and the body of the app's own 500. `receive` waits for the end of the answer without polling.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import azure.functions as func
from starlette.types import ASGIApp, Message

_log: Final = logging.getLogger(__name__)


async def exchange(app: ASGIApp, request: func.HttpRequest, extensions: dict[str, Any]) -> func.HttpResponse:
    """Run the app to its very end, work after the last body byte included, and return what it answered.

    `extensions` are further keys of the scope. An exception after a complete answer is logged and the answer, which
    is the app's own 500, is returned; before that it is raised, so that the host answers 500.
    """
    answer = _Answer(request.get_body() or b"")
    try:
        await app(scope_of(request) | extensions, answer.receive, answer.send)
    except Exception:
        if not answer.complete.is_set():
            raise
        _log.exception("the app raised after its answer")
    return answer.response()


def scope_of(request: func.HttpRequest) -> dict[str, Any]:
    """Return the ASGI HTTP scope of a request; the host's url is percent-encoded still, `%2F` included."""
    url = urlsplit(request.url)
    scheme = url.scheme or "http"
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method.upper(),
        "scheme": scheme,
        "path": unquote(url.path),
        "raw_path": url.path.encode(),
        "query_string": url.query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in request.headers.items()],
        "client": None,
        "server": (url.hostname, url.port or (443 if scheme == "https" else 80)) if url.hostname else None,
    }


class _Answer:
    """The two callables of one exchange and what they gathered."""

    def __init__(self, body: bytes) -> None:
        self.complete = asyncio.Event()
        self._body: bytes | None = body
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._chunks: list[bytes] = []

    async def receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self.complete.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start" and not self._status:
            self._status = message["status"]
            self._headers = list(message.get("headers", ()))
        elif kind == "http.response.body" and self._status and not self.complete.is_set():
            self._chunks.append(message.get("body", b""))
            if not message.get("more_body", False):
                self.complete.set()
        else:
            raise RuntimeError(f"{kind} is out of order")

    def response(self) -> func.HttpResponse:
        if not self.complete.is_set():
            raise RuntimeError("the app ended before its answer was complete")
        response = func.HttpResponse(b"".join(self._chunks), status_code=self._status)
        for name, value in _joined(self._headers):
            response.headers.add(name, value)
        return response


def _joined(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    """Join repeated headers as RFC 9110 allows, for the host takes one value a name; Set-Cookie stays apart."""
    single: dict[str, str] = {}
    cookies: list[tuple[str, str]] = []
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if name == "set-cookie":
            cookies.append((name, value))
        else:
            single[name] = f"{single[name]}, {value}" if name in single else value
    return [*single.items(), *cookies]
