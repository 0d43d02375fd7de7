"""`/healthz`, `/readyz` and `/metrics`: what load balancers, operators and scrapers ask an instance."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel

from gateway.errors import Forbidden, GatewayError
from gateway.identity.callers import Caller
from hosting.monitoring.exposition import CONTENT_TYPE
from hosting.monitoring.health import Readiness

type CallerOf = Callable[[Request], Coroutine[Any, Any, Caller]]


class Health(BaseModel):
    status: Literal["alive"] = "alive"


class CheckResult(BaseModel):
    """One check; `facts` differ by check."""

    ok: bool
    facts: dict[str, str | int | float | bool]


class Ready(BaseModel):
    """`checks` is there for operators alone."""

    status: Literal["ready", "not_ready"]
    checks: dict[str, CheckResult] | None = None


def router(readiness: Readiness, scrape: Callable[[], str], caller_of: CallerOf) -> APIRouter:
    """Return the routes. `caller_of` raises GatewayErrors for who is nobody."""
    routes = APIRouter(tags=["operation"])

    @routes.get("/healthz", operation_id="health", summary="Whether the process answers: no key, no I/O")
    async def healthz() -> Health:
        return Health()

    _add_readiness(routes, readiness, caller_of)
    _add_metrics(routes, scrape, caller_of)
    return routes


def _add_readiness(routes: APIRouter, readiness: Readiness, caller_of: CallerOf) -> None:
    @routes.get(
        "/readyz",
        operation_id="readiness",
        summary="Whether the instance can serve and charge; with an operator's key, each check",
        response_model=Ready,
        responses={503: {"model": Ready, "description": "A check failed."}},
    )
    async def readyz(request: Request) -> Response:
        findings = await readiness.findings()
        ready = all(finding.ok for finding in findings.values())
        answer = Ready(status="ready" if ready else "not_ready")
        if await _is_operator(request, caller_of):
            answer.checks = {name: CheckResult(ok=each.ok, facts=dict(each.facts)) for name, each in findings.items()}
        return JSONResponse(answer.model_dump(exclude_none=True), 200 if ready else 503)


def _add_metrics(routes: APIRouter, scrape: Callable[[], str], caller_of: CallerOf) -> None:
    async def operator(request: Request) -> Caller:
        caller = await caller_of(request)
        if not caller.operator:
            raise Forbidden("Metrics are for operators; this is a subscription's key.")
        return caller

    @routes.get(
        "/metrics",
        operation_id="metrics",
        summary="This instance's counts as Prometheus reads them; for operators",
        response_class=PlainTextResponse,
        responses={401: {"description": "No key, or one that is nobody's."}, 403: {"description": "No operator."}},
    )
    async def metrics(_: Annotated[Caller, Depends(operator)]) -> Response:
        return Response(scrape(), media_type=CONTENT_TYPE)


async def _is_operator(request: Request, caller_of: CallerOf) -> bool:
    try:
        return (await caller_of(request)).operator
    except GatewayError:
        return False
