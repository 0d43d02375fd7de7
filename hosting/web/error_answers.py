"""The one place where errors of every capability become answers, all in OpenAI's error shape."""

from collections.abc import Mapping
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from chargeback.errors import ChargebackError
from enrichment import errors as enrichment_errors
from enrichment.errors import EnrichmentError
from gateway.errors import GatewayError, OperationNotFound, error_body, error_json
from seams.events import StreamUnavailable
from seams.tables import TableUnavailable

_CODES: Final = {408: "request_timeout", 413: "request_too_large"}


def add_error_handlers(app: FastAPI) -> None:
    app.exception_handler(EnrichmentError)(enrichment_errors.answer)
    _add_own(app)
    _add_outages(app)
    _add_frameworks(app)

    @app.exception_handler(Exception)
    async def failed(_request: Request, _error: Exception) -> Response:
        return _answer(500, "Tollgate failed; its log says why.", "server_error", "internal_error")


def _add_own(app: FastAPI) -> None:
    @app.exception_handler(GatewayError)
    async def gateway_error(_: Request, error: GatewayError) -> Response:
        return _gateway_answer(error)

    @app.exception_handler(ChargebackError)
    async def chargeback_error(_: Request, error: ChargebackError) -> Response:
        kind = "permission_error" if error.status == 403 else "invalid_request_error"
        return _answer(error.status, str(error), kind, error.code)


def _add_outages(app: FastAPI) -> None:
    @app.exception_handler(TableUnavailable)
    async def tables_unavailable(_: Request, _error: TableUnavailable) -> Response:
        message = "The tables did not answer in time; nothing is lost, try again."
        return _answer(503, message, "server_error", "storage_unavailable", {"retry-after": "2"})

    @app.exception_handler(StreamUnavailable)
    async def stream_unavailable(_: Request, _error: StreamUnavailable) -> Response:
        message = "The event hub did not answer in time; nothing is lost, try again."
        return _answer(503, message, "server_error", "stream_unavailable", {"retry-after": "2"})


def _add_frameworks(app: FastAPI) -> None:
    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"] if step != "body")
        message = f"{place}: {first['msg']}" if place else str(first["msg"])
        return _answer(422, message, "invalid_request_error", "invalid_request")

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        if error.status_code == 404:
            return _gateway_answer(OperationNotFound(f"There is nothing at {request.url.path[:200]}."))
        code = _CODES.get(error.status_code, "invalid_request")
        return _answer(error.status_code, str(error.detail), "invalid_request_error", code, error.headers)


def _gateway_answer(error: GatewayError) -> Response:
    headers = {name.decode(): value.decode() for name, value in error.headers}
    return Response(error_body(error), error.status, headers, "application/json")


def _answer(status: int, message: str, kind: str, code: str, headers: Mapping[str, str] | None = None) -> Response:
    return Response(error_json(message, kind, code), status, headers, "application/json")
