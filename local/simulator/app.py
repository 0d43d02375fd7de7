"""The ASGI application of one backend: who asks, what for, what is broken, and the answer."""

from collections.abc import Mapping
from hmac import compare_digest
from typing import Protocol, cast

import msgspec
from uvicorn._types import (  # uvicorn has no public names for the ASGI types it is written against
    ASGIReceiveCallable,
    ASGISendCallable,
    HTTPScope,
    Scope,
)

from local.simulator import chat, completions, embeddings, errors, models, responses, stored_responses
from local.simulator.answers import Answer
from local.simulator.backend import Backend, SeenRequest
from local.simulator.calls import Call, Report, Route, find_route, target_model
from local.simulator.delivery import Delivery
from local.simulator.errors import AzureError
from local.simulator.exchange import CallerLeft, Exchange
from local.simulator.faults import (
    Garbage,
    Html,
    NotJson,
    RequestFault,
    Reset,
    Slow,
    Status,
    UsageMissing,
    UsageZero,
)

HTML_PAGE = b"<html><head><title>502 Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>\n"
NO_HTTP = b"\x16\x03\x01 this is not HTTP\r\n\r\n"
NO_JSON = b"<!-- upstream said nothing that can be parsed -->"


class Operation(Protocol):
    def __call__(self, call: Call, backend: Backend) -> Answer: ...


OPERATIONS: Mapping[str, Operation] = {
    "chat/completions": chat.answer,
    "completions": completions.answer,
    "embeddings": embeddings.answer,
    "responses": responses.answer,
}


class Control(Protocol):
    async def __call__(self, exchange: Exchange) -> None:
        """Answer a request below /simulator/."""
        ...


class App:
    """`control` answers below /simulator/; everything else is the backend's."""

    def __init__(self, backend: Backend, control: Control) -> None:
        self._backend = backend
        self._control = control

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        exchange = Exchange(cast("HTTPScope", scope), receive, send, self._backend.clock)
        try:
            if exchange.path.startswith("/simulator/"):
                await self._control(exchange)
            else:
                await self._serve(exchange)
        except AzureError as refusal:
            await exchange.answer(refusal.status, refusal.body, {"content-type": "application/json"})
        except CallerLeft:
            return

    async def _serve(self, exchange: Exchange) -> None:
        backend = self._backend
        request_id = backend.new_id()
        body = await exchange.body()
        seen = SeenRequest(
            time=backend.clock.now(),
            request_id=request_id,
            method=exchange.method,
            path=exchange.path,
            query=exchange.query,
            headers=exchange.headers,
            credential=_credential(exchange),
            body=body,
        )
        backend.requests.append(seen)
        try:
            await self._answer(exchange, request_id, body)
        except AzureError as refusal:
            shown = {"apim-request-id": request_id, "x-request-id": request_id, "x-ms-region": backend.settings.region}
            await exchange.answer(
                refusal.status, refusal.body, {"content-type": "application/json", **shown, **refusal.headers}
            )
        finally:
            seen.status = exchange.status

    async def _answer(self, exchange: Exchange, request_id: str, body: bytes) -> None:
        backend = self._backend
        route = find_route(exchange)
        self._authorise(exchange)
        if route.operation == "models" or route.item:
            await exchange.answer(200, self._item(route, exchange), {"content-type": "application/json"})
            return
        name = route.deployment or target_model(body)
        fault = backend.faults.take(route.operation, name, exchange.headers)
        if fault is not None and await self._replaced(exchange, fault, request_id):
            return
        if not name:
            raise errors.invalid_request(
                "Missing required parameter: 'model'.", param="model", code="missing_required_parameter"
            )
        deployment = backend.settings.deployments.get(name)
        if deployment is None:
            raise errors.deployment_not_found()
        call = Call(
            request_id=request_id,
            operation=route.operation,
            deployment_name=name,
            deployment=deployment,
            tokenizer=backend.tokenizers.of(deployment.model),
            body=body,
            created=int(backend.clock.now().timestamp()),
            api_version=exchange.query.get("api-version", ""),
            v1=route.v1,
            report=_report(fault),
        )
        answer = OPERATIONS[route.operation](call, backend)
        await Delivery(backend, exchange, call, fault).deliver(answer)

    def _authorise(self, exchange: Exchange) -> None:
        settings = self._backend.settings
        key = exchange.header(b"api-key")
        scheme, _, token = exchange.header(b"authorization").partition(" ")
        if key:
            if not compare_digest(key.encode(), settings.api_key.encode()):
                raise errors.unauthorized(bearer=False)
            return
        if scheme.lower() != "bearer":
            raise errors.unauthorized(bearer=False)
        known = (settings.api_key, *settings.bearer_tokens)
        if not any(compare_digest(token.encode(), entry.encode()) for entry in known):
            raise errors.unauthorized(bearer=True)

    def _item(self, route: Route, exchange: Exchange) -> bytes:
        if route.operation == "models":
            return models.listing(self._backend.settings, route.item)
        if route.action == "cancel":
            return stored_responses.cancel(self._backend, route.item)
        if route.action == "input_items":
            return stored_responses.input_items(self._backend, route.item, exchange.query)
        if exchange.method == "DELETE":
            return stored_responses.delete(self._backend, route.item)
        return stored_responses.retrieve(self._backend, route.item)

    async def _replaced(self, exchange: Exchange, fault: RequestFault, request_id: str) -> bool:
        """Apply a fault that comes before an answer; return whether it stands in for it."""
        match fault:
            case Status(status=status):
                await self._send_status(exchange, fault, status, request_id)
            case Reset():
                await exchange.reset()
            case Garbage():
                await exchange.raw(NO_HTTP)
            case NotJson():
                await exchange.answer(200, NO_JSON, {"content-type": "application/json"})
            case Html(status=status):
                await exchange.answer(status, HTML_PAGE, {"content-type": "text/html"})
            case Slow(seconds=seconds):
                await exchange.wait(seconds)
                return False
            case _:
                return False
        return True

    async def _send_status(self, exchange: Exchange, fault: Status, status: int, request_id: str) -> None:
        body = fault.body
        if body is None:
            body = {"error": {"code": str(status), "message": f"Simulated status {status}."}}
        headers = {"content-type": "application/json", "apim-request-id": request_id, **fault.headers}
        await exchange.answer(status, _encoded(body), headers)


def _encoded(body: object) -> bytes:
    return body.encode() if isinstance(body, str) else msgspec.json.encode(body)


def _report(fault: RequestFault | None) -> Report:
    match fault:
        case UsageMissing():
            return "missing"
        case UsageZero():
            return "zero"
    return "true"


def _credential(exchange: Exchange) -> str:
    """Return the kind of the credential, never the credential."""
    if exchange.header(b"api-key"):
        return "api-key"
    return "bearer" if exchange.header(b"authorization").lower().startswith("bearer ") else "none"
