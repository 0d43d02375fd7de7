"""What can go wrong with a ticket or its answer, in OpenAI's error shape.

    EnrichmentError
    |- InvalidBody      400, 422   not JSON, or not what the route takes
    |- JobsUnavailable  422        `mode: async` where there are no jobs
    |- BodyTimeout      408        the body did not arrive in time
    |- BodyTooLarge     413        over the size limit
    |- NoAnswer         422        the model refused, was filtered or was cut short: the code tells which
    |- GatewayRefused   as it was  the gateway's or a backend's own error, passed on
    |- CallerLeft       499        the connection is gone; nobody reads this
    |- GatewayFailed    502        no answer, or one that is none
    |- AnswerUnusable   502        a model's answer that is not what was asked for: the code tells how
    `- GatewayTimeout   504        no answer in time

The router turns them into answers itself; `answer` has the signature of an exception handler, too.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import openai
from fastapi import Request
from fastapi.responses import JSONResponse

PASSED_ON = ("retry-after", "retry-after-ms", "x-should-retry", "x-request-id", "x-gateway-backend")
"""Headers of a gateway's error that matter to our caller as much as to us, beside `x-ratelimit-*`."""


class EnrichmentError(Exception):
    """A request that is answered with an error."""

    status = 500
    type = "server_error"
    code: str | None = "internal_error"

    def __init__(self, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.param = param
        self.headers: Mapping[str, str] = {}

    @property
    def retry_after(self) -> int | None:
        """Seconds after which to ask again; None where that is not known."""
        told = self.headers.get("retry-after", "")
        return int(told) if told.isdecimal() else None

    def body(self) -> dict[str, dict[str, str | None]]:
        """Return `{"error": {"message", "type", "param", "code"}}`."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


class InvalidBody(EnrichmentError):
    status, type, code = 422, "invalid_request_error", "invalid_request"

    def __init__(self, message: str, *, param: str | None = None, is_json: bool = True) -> None:
        super().__init__(message, param=param)
        if not is_json:
            self.status, self.code = 400, "invalid_json"


class JobsUnavailable(EnrichmentError):
    status, type, code = 422, "invalid_request_error", "jobs_unavailable"


class BodyTimeout(EnrichmentError):
    status, type, code = 408, "invalid_request_error", "request_timeout"


class BodyTooLarge(EnrichmentError):
    status, type, code = 413, "invalid_request_error", "request_too_large"


class NoAnswer(EnrichmentError):
    """`code` is `refusal`, `content_filter` or `length`. What the model used is charged all the same."""

    status, type, code = 422, "no_answer", "refusal"


class GatewayRefused(EnrichmentError):
    def __init__(self, error: openai.APIStatusError) -> None:
        told: Mapping[str, Any] = error.body if isinstance(error.body, dict) else {}
        message = told.get("message") or f"The gateway answered {error.status_code} {_phrase(error.status_code)}."
        super().__init__(str(message), code=error.code or "gateway_error", param=error.param)
        self.status = error.status_code
        self.type = str(told.get("type") or ("server_error" if self.status >= 500 else "invalid_request_error"))
        self.headers = {
            name: value
            for name, value in error.response.headers.items()
            if name in PASSED_ON or name.startswith("x-ratelimit-")
        }


class CallerLeft(EnrichmentError):
    status, type, code = 499, "invalid_request_error", "caller_left"


class GatewayFailed(EnrichmentError):
    status, type, code = 502, "server_error", "bad_gateway"


class AnswerUnusable(EnrichmentError):
    """`code` is `not_json` or `wrong_schema`. What the model used is charged all the same."""

    status, type, code = 502, "server_error", "wrong_schema"


class GatewayTimeout(EnrichmentError):
    status, type, code = 504, "server_error", "gateway_timeout"


def from_sdk(error: openai.APIError) -> EnrichmentError:
    """Return the domain error for what the openai SDK raised."""
    match error:
        case openai.APIStatusError(status_code=400, code="content_filter"):
            return NoAnswer("The model's content filter stopped the prompt.", code="content_filter")
        case openai.APIStatusError():
            return GatewayRefused(error)
        case openai.APITimeoutError():
            return GatewayTimeout("The model did not answer in time.")
        case openai.APIConnectionError():
            return GatewayFailed("The gateway did not answer.")
        case _:
            return GatewayFailed(error.message, code=error.code, param=error.param)


async def answer(_: Request, error: EnrichmentError) -> JSONResponse:
    """Return the error as an HTTP answer."""
    return JSONResponse(error.body(), error.status, headers=dict(error.headers))


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in HTTPStatus else ""
