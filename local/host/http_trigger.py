"""HTTP triggers as an ASGI app: routes, then an invocation in the server's own task.

With HTTP streams a function is given a Starlette request and answers with a Starlette response, as in the worker. An
exception goes on to the server, which answers 500 or, once the answer has begun, cuts the connection.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import azure.functions as func
from azure.functions.decorators.http import HttpTrigger
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from local.host.invocations import Function, NotServable

_PARAMETER: Final = re.compile(r"\{(?P<rest>\*{0,2})(?P<name>\w+)(?::[^{}?]+)?(?P<optional>\??)\}")
_HOST_PATHS: Final = re.compile(r"/(admin|runtime)(/|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Route:
    """A path pattern and methods; no methods means any."""

    path: re.Pattern[str]
    methods: frozenset[str]
    function: Function


class HttpTriggers:
    """The ASGI app that a server runs. A path or method that no function takes is 404, as on the real host."""

    def __init__(self, functions: Iterable[Function], prefix: str, *, streams: bool) -> None:
        by_precision = sorted(functions, key=lambda function: _precision(_template(function, prefix)))
        self._routes: Sequence[Route] = [
            Route(path_pattern(_template(function, prefix)), _methods(function.trigger), function)
            for function in by_precision
        ]
        self._invoke = self._streamed if streams else self._buffered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        if not _HOST_PATHS.match(path):
            for route in self._routes:
                match = route.path.fullmatch(path)
                if match is not None and (not route.methods or method in route.methods):
                    scope["path_params"] = match.groupdict("")
                    await self._invoke(route.function, scope, receive, send)
                    return
        await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async def _streamed(self, function: Function, scope: Scope, receive: Receive, send: Send) -> None:
        response = await function.invoke(Request(scope, receive, send))
        if not isinstance(response, Response):
            raise NotServable(f"{function.name} must answer a streamed request with a Starlette response")
        await response(scope, receive, send)

    async def _buffered(self, function: Function, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        answer = await function.invoke(_whole_request(request, await request.body()))
        if not isinstance(answer, func.HttpResponse):
            raise NotServable(f"{function.name} must answer with azure.functions.HttpResponse")
        await _whole_response(answer)(scope, receive, send)


def path_pattern(template: str) -> re.Pattern[str]:
    """Compile a route template of the Functions host: literals, {name}, {name?}, {name:constraint}, {*rest}.

    Constraints are not checked. Matching ignores case and a trailing slash.
    """
    pattern, position = "", 0
    for parameter in _PARAMETER.finditer(template):
        pattern += re.escape(template[position : parameter.start()])
        name = parameter["name"]
        if parameter["rest"]:
            pattern = pattern.removesuffix("/") + f"(?:/(?P<{name}>.*))?"
        elif parameter["optional"]:
            pattern = pattern.removesuffix("/") + f"(?:/(?P<{name}>[^/]+))?"
        else:
            pattern += f"(?P<{name}>[^/]+)"
        position = parameter.end()
    return re.compile(pattern + re.escape(template[position:]) + "/?", re.IGNORECASE | re.DOTALL)


def _template(function: Function, prefix: str) -> str:
    route = function.trigger.route if function.trigger.route is not None else function.name
    return "".join(f"/{part}" for part in (prefix.strip("/"), route.strip("/")) if part)


def _precision(template: str) -> tuple[bool, int, int]:
    return "{*" in template, template.count("{"), -len(template)


def _methods(trigger: HttpTrigger) -> frozenset[str]:
    return frozenset(str(getattr(method, "value", method)).upper() for method in trigger.methods or ())


def _whole_request(request: Request, body: bytes) -> func.HttpRequest:
    """Make what the worker makes of the host's message: repeated headers joined, empty query values dropped."""
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    raw_path = request.scope["raw_path"].decode("ascii", "replace")
    query = request.url.query
    return func.HttpRequest(
        method=request.method,
        url=f"{request.url.scheme}://{request.url.netloc}{raw_path}{'?' + query if query else ''}",
        headers=headers,
        params={name: value for name, value in request.query_params.items() if value},
        route_params=request.path_params,
        body=body,
    )


def _whole_response(answer: func.HttpResponse) -> Response:
    response = Response(answer.get_body(), status_code=answer.status_code)
    headers: list[tuple[str, Any]] = [(name.lower(), value) for name, value in answer.headers.items()]
    if not any(name == "content-type" for name, _ in headers):
        is_text = answer.mimetype.startswith("text/")
        headers.append(("content-type", f"{answer.mimetype}; charset={answer.charset}" if is_text else answer.mimetype))
    for name, value in headers:
        if name == "set-cookie":
            response.headers.append(name, value)
        else:
            response.headers[name] = value
    return response
