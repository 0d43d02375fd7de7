"""The web application: the gateway in front, FastAPI behind it for everything that is not a model call."""

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response
from starlette.types import Message, Receive, Scope, Send

from chargeback.closing import proof_routes
from chargeback.deadletters import deadletter_routes
from chargeback.readers import operator_of
from chargeback.statements import routes as chargeback
from enrichment import routes as enrichment
from enrichment.caller import TicketCaller
from enrichment.jobs import oversight_routes
from enrichment.jobs import routes as job_routes
from gateway.description.described_bodies import SCHEMAS
from gateway.description.description import described_paths
from gateway.identity.callers import Caller
from gateway.requests import operations
from gateway.routes import INVOCATION_ID, Gateway
from gateway.subscriptions import management
from hosting.monitoring import probes
from hosting.services.services import Services
from hosting.web import importable, reference
from hosting.web.bounded_bodies import bounded
from hosting.web.described_errors import describe_errors
from hosting.web.error_answers import add_error_handlers

DESCRIPTION = """Azure OpenAI behind one address: balanced, limited, metered and charged to subscriptions.

Send a subscription key in `api-key`, `Ocp-Apim-Subscription-Key` or `Authorization: Bearer`; where the operator has set
it up, an Entra ID access token in `Authorization: Bearer`."""

CORRELATION_ID = b"x-correlation-id"
_CORRELATION = re.compile(rb"[\x20-\x7e]{1,200}")


class TollgateApp(FastAPI):
    """FastAPI with the gateway in front of its router; `/openapi.json` describes the gateway's paths, too."""

    def __init__(self, gateway: Gateway, **settings: Any) -> None:
        super().__init__(**settings)
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(operations.PREFIXES):
            await self._gateway(scope, receive, send)
        elif scope["type"] == "http":
            await super().__call__(scope, bounded(receive), _with_ids(scope, send))
        else:
            await super().__call__(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        if not self.openapi_schema:
            schema = super().openapi()
            schema["paths"] |= described_paths()
            schema["components"]["schemas"] |= SCHEMAS
            schema["components"]["securitySchemes"] = _SECURITY
            schema["security"] = [{name: []} for name in _SECURITY]
            describe_errors(schema)
        return self.openapi_schema or {}


def _with_ids(scope: Scope, send: Send) -> Send:
    """Return a `send` whose answers carry `x-request-id`, as the gateway's do, and the caller's `x-correlation-id`."""
    ids = [(b"x-request-id", (scope.get(INVOCATION_ID) or os.urandom(16).hex()).encode())]
    ids += [header for header in scope["headers"] if header[0] == CORRELATION_ID and _CORRELATION.fullmatch(header[1])]

    async def named(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *ids[:2]]
        await send(message)

    return named


_SECURITY = {
    "api-key": {"type": "apiKey", "in": "header", "name": "api-key"},
    "subscription-key": {"type": "apiKey", "in": "header", "name": "Ocp-Apim-Subscription-Key"},
    "bearer": {"type": "http", "scheme": "bearer"},
}


def create_app(services: Services) -> TollgateApp:
    """Return the app.

    Its start-up loads the token vocabulary and reads which backends throttle; its shut-down closes the services.
    """
    app = TollgateApp(
        services.gateway,
        title="Tollgate",
        version="0.1.0",
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan(services),
        # FastAPI's own would record what was sent with each validation error; the host has the requests' spans.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    _add_routes(app, services)
    reference.mount(app)
    importable.mount(app)
    _add_home(app)
    add_error_handlers(app)
    return app


def _lifespan(services: Services) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.create_task(asyncio.to_thread(services.counter.load))
        services.monitoring.start()
        await services.cooldowns.read()
        try:
            yield
        finally:
            await loading
            await services.close()

    return lifespan


def _add_routes(app: FastAPI, services: Services) -> None:
    async def caller_of(request: Request) -> Caller:
        return await services.callers.identify(request.scope["headers"])

    async def ticket_caller(request: Request) -> AsyncIterator[TicketCaller]:
        caller = await caller_of(request)
        subscription = caller.entitlement()
        async with services.models.for_caller(caller) as models:
            yield TicketCaller(subscription.name, models, placeholders=subscription.hide_personal_data)

    async def subscription_of(request: Request) -> str:
        return (await caller_of(request)).entitlement().name

    app.include_router(probes.router(services.monitoring.readiness, services.monitoring.scrape, caller_of))
    app.include_router(management.router(services.register, caller_of))
    app.include_router(chargeback.router(services.books.statements, caller_of))
    app.include_router(deadletter_routes.router(services.books.dead_letters, caller_of))
    app.include_router(proof_routes.router(services.books.closing, caller_of))
    app.include_router(enrichment.router(ticket_caller, services.enricher, services.jobs.answering))
    app.include_router(job_routes.router(subscription_of, services.jobs.desk))
    app.include_router(oversight_routes.router(services.jobs.oversight, operator_of(caller_of)))


def _add_home(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def home() -> Response:
        return RedirectResponse("/docs")
