"""Errors as Azure OpenAI words them, in its two shapes: Azure's own `{"code", "message"}`, and OpenAI's."""

from collections.abc import Mapping
from typing import Any

import msgspec

FILTER_POLICY = "https://go.microsoft.com/fwlink/?linkid=2198766"


class AzureError(Exception):
    """A refusal: status, body and headers as they go out. It costs nothing."""

    def __init__(self, status: int, error: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status}: {error.get('message')}")
        self.status = status
        self.body = msgspec.json.encode({"error": error})
        self.headers = dict(headers or {})


def _resource_error(status: int, code: str, message: str) -> AzureError:
    return AzureError(status, {"code": code, "message": message})


def invalid_request(message: str, param: str | None = None, code: str | None = None, status: int = 400) -> AzureError:
    """Return the model's own refusal of a request, in OpenAI's shape."""
    return AzureError(status, {"message": message, "type": "invalid_request_error", "param": param, "code": code})


def unauthorized(*, bearer: bool) -> AzureError:
    if bearer:
        return _resource_error(
            401,
            "Unauthorized",
            "Unauthorized. Access token is missing, invalid, audience is incorrect "
            "(https://cognitiveservices.azure.com), or have expired.",
        )
    return _resource_error(
        401,
        "401",
        "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an "
        "active subscription and use a correct regional API endpoint for your resource.",
    )


def resource_not_found() -> AzureError:
    """Return what an unknown path answers, and so does a path that lacks its api-version."""
    return _resource_error(404, "404", "Resource not found")


def deployment_not_found() -> AzureError:
    return _resource_error(
        404,
        "DeploymentNotFound",
        "The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, "
        "please wait a moment and try again.",
    )


def too_many_requests(message: str, retry_after_ms: int, headers: Mapping[str, str]) -> AzureError:
    """Return a 429; `Retry-After` is whole seconds, rounded up, `retry-after-ms` exact."""
    seconds = max(1, -(-retry_after_ms // 1000))
    waits = {"retry-after": str(seconds), "retry-after-ms": str(retry_after_ms)}
    return AzureError(429, {"code": "429", "message": message}, {**headers, **waits})


def prompt_filtered() -> AzureError:
    """Return the refusal of a prompt by the content filter (Azure OpenAI, "Content filtering", error example)."""
    return AzureError(
        400,
        {
            "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management "
            "policy. Please modify your prompt and retry. To learn more about our content filtering policies "
            f"please read our documentation: {FILTER_POLICY}",
            "type": None,
            "param": "prompt",
            "code": "content_filter",
            "status": 400,
            "innererror": {
                "code": "ResponsibleAIPolicyViolation",
                "content_filter_result": {
                    "hate": {"filtered": False, "severity": "safe"},
                    "jailbreak": {"filtered": False, "detected": False},
                    "self_harm": {"filtered": False, "severity": "safe"},
                    "sexual": {"filtered": False, "severity": "safe"},
                    "violence": {"filtered": True, "severity": "high"},
                },
            },
        },
    )


def response_not_found(response_id: str) -> AzureError:
    return invalid_request(f"Response with id '{response_id}' not found.", status=404)


def previous_response_not_found(response_id: str) -> AzureError:
    return invalid_request(
        f"Previous response with id '{response_id}' not found.",
        param="previous_response_id",
        code="previous_response_not_found",
    )
