"""An ASGI app behind one HTTP function of Azure Functions, with HTTP streams and without.

With streams the worker hands the function a Starlette request, and the app runs inside the invocation: each chunk
leaves when it is made, a caller's disconnect reaches the app, log lines carry the invocation's id, and the invocation
ends when the app does, after whatever it awaits behind its last byte. Without streams `hosting.functions.buffered`
serves.
"""

import sys
from collections import deque
from typing import Any, Final, Protocol

import azure.functions as func
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from hosting.functions.buffered import exchange
from hosting.functions.lifespan import Lifespan

_INVOCATION_HEADER: Final = b"x-ms-invocation-id"
_COORDINATOR_MODULES: Final = ("azure_functions_runtime.http_v2", "azure_functions_worker.http_v2")


class Invocation(Protocol):
    """The part of a function's `context` that is used; the worker's own class is no azure.functions.Context."""

    @property
    def invocation_id(self) -> str: ...

    @property
    def function_name(self) -> str: ...


class StreamingAsgiMiddleware(func.AsgiMiddleware):
    """Hands HTTP invocations to an ASGI app; the app is started once, see `hosting.functions.lifespan`.

    Beside the standard keys the scope has `azure_functions.invocation_id` and `azure_functions.function_name`.
    """

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(app)  # type: ignore[no-untyped-call]  # azure.functions types only a part of itself
        self._asgi_app = app
        self._lifespan = Lifespan(app)
        self._finished = FinishedInvocations()

    async def started(self) -> None:
        """Return once the app has started. Raises StartupFailed; the next call tries again."""
        await self._lifespan.started()

    async def stop(self) -> None:
        """Shut the app down: for tests, since the host of a deployed app never does."""
        await self._lifespan.stop()

    async def handle_async(
        self, req: func.HttpRequest | Request, context: Invocation | None = None
    ) -> func.HttpResponse | Response:
        """Answer one request: HttpRequest -> HttpResponse; Starlette request -> a response that was sent already.

        Raises StartupFailed, and what the app raises: the invocation fails with it.
        """
        await self._lifespan.started()
        extensions: dict[str, Any] = {"state": self._lifespan.state.copy()}
        if context is not None:
            extensions["azure_functions.invocation_id"] = context.invocation_id
            extensions["azure_functions.function_name"] = context.function_name
        if isinstance(req, func.HttpRequest):
            return await exchange(self._asgi_app, req, extensions)
        try:
            return await self._stream(req, extensions)
        finally:
            if context is not None:
                self._finished.add(context.invocation_id)

    async def _stream(self, request: Request, extensions: dict[str, Any]) -> Response:
        scope = _streamed_scope(request.scope, extensions)
        send: Send | None = getattr(request, "_send", None)
        if send is None:
            return _RunsTheApp(self._asgi_app, scope)
        await self._asgi_app(scope, request.receive, send)
        return _AlreadySent()


def _streamed_scope(worker: Scope, extensions: dict[str, Any]) -> Scope:
    """Select what a server gives an app, and leave out what the worker's own app has added to it."""
    scope = {
        "type": "http",
        "asgi": worker["asgi"],
        "http_version": worker["http_version"],
        "method": worker["method"],
        "scheme": worker["scheme"],
        "path": worker["path"],
        "raw_path": worker["raw_path"],
        "query_string": worker["query_string"],
        "root_path": "",
        "headers": [header for header in worker["headers"] if header[0] != _INVOCATION_HEADER],
        "client": worker["client"],
        "server": worker["server"],
        **extensions,
    }
    if "extensions" in worker:
        scope["extensions"] = worker["extensions"]
    return scope


class _AlreadySent(Response):
    """What the worker is given where the app has sent its answer itself."""

    def __init__(self) -> None:
        self.background = None
        self.status_code = 200
        self.raw_headers = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send nothing."""


class _RunsTheApp(Response):
    """Where the request does not reveal its `send`: the app runs when the worker sends the response.

    The invocation then ends before the body does.
    """

    def __init__(self, app: ASGIApp, scope: Scope) -> None:
        super().__init__()
        self._app = app
        self._scope = scope

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(self._scope, receive, send)


class FinishedInvocations:
    """Drops what the worker's HttpCoordinator keeps of finished invocations, about 2 kB each, for ever.

    An invocation is dropped when the worker has taken its response out, which is soon after it finished: so a later
    one's end is the time to look. Where the worker has no such table, there is nothing to drop.
    """

    def __init__(self) -> None:
        self._waiting: deque[str] = deque()

    def add(self, invocation_id: str) -> None:
        references = _coordinator_references()
        if references is None:
            return
        for _ in range(len(self._waiting)):
            earlier = self._waiting.popleft()
            if _taken(references.get(earlier)):
                references.pop(earlier, None)
            else:
                self._waiting.append(earlier)
        self._waiting.append(invocation_id)


def _coordinator_references() -> dict[str, Any] | None:
    for name in _COORDINATOR_MODULES:
        coordinator = getattr(sys.modules.get(name), "http_coordinator", None)
        references = getattr(coordinator, "_context_references", None)
        if isinstance(references, dict):
            return references
    return None


def _taken(reference: Any) -> bool:
    """Tell whether the worker took the response out; a reference of unknown make is left alone."""
    if reference is None:
        return True
    available = getattr(reference, "http_response_available_event", None)
    return available is not None and available.is_set() and getattr(reference, "http_response", None) is None
