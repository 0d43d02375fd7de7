"""What can go wrong with a call, and how a caller is told: in OpenAI's error shape, which the SDKs make classes of.

    GatewayError
    |- Unauthenticated      401  no key, or one that is nobody's
    |  |- TokenRefused      401  an access token that is not believed, or whose identity is nobody's
    |  `- TokenNeeded       401  only backends that take the caller's access token, and none came
    |- Forbidden            403  known, but not allowed this
    |- OperationNotFound    404  no such path
    |- DeploymentNotFound   404  no such deployment
    |- ResponseNotFound     404  no such stored response, or somebody else's
    |- InvalidRequest       400  a body that cannot be understood
    |- PromptAttack         400  the prompt shield sees an attack
    |- PromptUnchecked      503  the prompt shield sees nothing, and the subscription wants it to
    |- MethodNotAllowed     405
    |- BodyTimeout          408  the body did not arrive in time
    |- BodyTooLarge         413  over the size limit
    |- EncodingNotSupported 415  a compressed body
    |- SubscriptionNotFound 404  no such subscription
    |- SubscriptionExists   409  the name is taken
    |- SubscriptionReadOnly 409  the catalog holds it
    |- IdentityTaken        409  another subscription lists the identity
    |- SubscriptionChanged  412  changed since the reader's ETag
    |- SubscriptionInvalid  422  fields that no subscription can have
    |- SubscriptionUnreadable 500  a row that this version cannot read
    |- SubscriptionsUnavailable 503  whose key it is cannot be found out now
    |- IdentityUnavailable  503  no signing keys to check an access token with
    |- TooManyLookups       503  too many keys are being looked up that nobody here has seen
    |- UploadInterrupted    503  a backend failed in the middle of a file that could not be kept
    |- UpstreamGarbage      502  a backend answered with what is no answer
    |- RateLimited          429  over a limit per minute, or too many requests at once
    |- QuotaExceeded        403  the period's tokens are used up
    |- BudgetExceeded       403  the period's money is used up
    `- NoBackend        429, 503  every backend is cooling down, tripped or already tried

`CallerLeft` is no answer at all: the connection is gone.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec


class CallerLeft(Exception):
    """The caller closed the connection; nothing can be sent to it any more."""


class GatewayError(Exception):
    """A call that the gateway itself answers with an error. `headers` are added to the answer."""

    status = 500
    type = "server_error"
    code = "internal_error"
    innererror: ClassVar[Mapping[str, Any] | None] = None
    """Azure's own word for more about an error, beside OpenAI's four."""

    retry_after: ClassVar[float | None] = None
    """Seconds after which the same call may succeed, where every error of the class has the same."""

    def __init__(
        self, message: str, *, param: str | None = None, headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.headers = headers if self.retry_after is None else retry_headers(self.retry_after)


class Unauthenticated(GatewayError):
    status, type, code = 401, "authentication_error", "invalid_api_key"


class TokenRefused(Unauthenticated):
    """Takes the reason, as the rest of "the access token is refused: "; the challenge is RFC 6750's."""

    code = "invalid_token"

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"Access denied: the access token is refused: {reason}.",
            headers=((b"www-authenticate", b'Bearer error="invalid_token"'),),
        )


class TokenNeeded(Unauthenticated):
    code = "token_required"


class Forbidden(GatewayError):
    status, type, code = 403, "permission_error", "permission_denied"


class OperationNotFound(GatewayError):
    status, type, code = 404, "invalid_request_error", "operation_not_found"


class DeploymentNotFound(GatewayError):
    status, type, code = 404, "invalid_request_error", "DeploymentNotFound"


class ResponseNotFound(GatewayError):
    status, type, code = 404, "invalid_request_error", "response_not_found"


class InvalidRequest(GatewayError):
    status, type, code = 400, "invalid_request_error", "invalid_request"


class PromptAttack(GatewayError):
    """Shaped as Azure OpenAI's own refusal by its filter: "Content filtering", error example."""

    status, type, code = 400, "invalid_request_error", "content_filter"
    innererror: ClassVar[Mapping[str, Any] | None] = {
        "code": "ResponsibleAIPolicyViolation",
        "content_filter_result": {"jailbreak": {"filtered": True, "detected": True}},
    }

    def __init__(self, message: str) -> None:
        super().__init__(message, param="prompt")


class PromptUnchecked(GatewayError):
    status, code = 503, "prompt_unchecked"
    retry_after = 1.0


class MethodNotAllowed(GatewayError):
    status, type, code = 405, "invalid_request_error", "method_not_allowed"


class BodyTimeout(GatewayError):
    status, type, code = 408, "invalid_request_error", "request_timeout"


class BodyTooLarge(GatewayError):
    status, type, code = 413, "invalid_request_error", "request_too_large"


class EncodingNotSupported(GatewayError):
    status, type, code = 415, "invalid_request_error", "unsupported_content_encoding"


class SubscriptionNotFound(GatewayError):
    status, type, code = 404, "invalid_request_error", "subscription_not_found"


class SubscriptionExists(GatewayError):
    status, type, code = 409, "invalid_request_error", "subscription_exists"


class SubscriptionReadOnly(GatewayError):
    status, type, code = 409, "invalid_request_error", "subscription_read_only"


class IdentityTaken(GatewayError):
    status, type, code = 409, "invalid_request_error", "identity_taken"


class SubscriptionChanged(GatewayError):
    status, type, code = 412, "invalid_request_error", "subscription_changed"


class SubscriptionInvalid(GatewayError):
    status, type, code = 422, "invalid_request_error", "invalid_request"


class SubscriptionUnreadable(GatewayError):
    code = "subscription_unreadable"


class SubscriptionsUnavailable(GatewayError):
    status, code = 503, "storage_unavailable"
    retry_after = 2.0


class IdentityUnavailable(GatewayError):
    """`retry_after` is in seconds."""

    status, code = 503, "identity_provider_unavailable"

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message, headers=retry_headers(retry_after))


class TooManyLookups(GatewayError):
    status, code = 503, "too_many_lookups"
    retry_after = 1.0


class RateLimited(GatewayError):
    """`retry_after` is in seconds; None where waiting does not help, which `x-should-retry` then tells the SDKs."""

    status, type, code = 429, "rate_limit_error", "rate_limit_exceeded"

    def __init__(self, message: str, *, retry_after: float | None = 1.0) -> None:
        no_use = ((b"x-should-retry", b"false"),)
        super().__init__(message, headers=no_use if retry_after is None else retry_headers(retry_after))


class QuotaExceeded(GatewayError):
    status, type, code = 403, "insufficient_quota", "quota_exceeded"


class BudgetExceeded(GatewayError):
    status, type, code = 403, "insufficient_quota", "budget_exceeded"


class UpstreamGarbage(GatewayError):
    status, type, code = 502, "server_error", "bad_gateway"


class UploadInterrupted(GatewayError):
    status, code = 503, "upload_interrupted"
    retry_after = 1.0


class NoBackend(GatewayError):
    """`retry_after` is when the first backend is expected back, in seconds from now."""

    status, type, code = 503, "server_error", "no_backend_available"

    def __init__(self, message: str, *, throttled: bool, retry_after: float) -> None:
        super().__init__(message, headers=retry_headers(retry_after))
        if throttled:
            self.status, self.type, self.code = 429, "rate_limit_error", "rate_limit_exceeded"


def retry_headers(seconds: float) -> tuple[tuple[bytes, bytes], ...]:
    """Return `retry-after`, in whole seconds as RFC 9110 has it, and Azure's `retry-after-ms`; both rounded up."""
    milliseconds = max(1, math.ceil(seconds * 1000))
    return (
        (b"retry-after", str(math.ceil(milliseconds / 1000)).encode()),
        (b"retry-after-ms", str(milliseconds).encode()),
    )


def error_body(error: GatewayError) -> bytes:
    """Return `{"error": {"message", "type", "param", "code"}}` as JSON bytes."""
    if error.innererror is None:
        return error_json(error.message, error.type, error.code, error.param)
    fields = {"message": error.message, "type": error.type, "param": error.param, "code": error.code}
    return msgspec.json.encode({"error": fields | {"innererror": error.innererror}})


def error_json(message: str, kind: str, code: str, param: str | None = None) -> bytes:
    """Return OpenAI's error object as JSON bytes."""
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": param, "code": code}})
