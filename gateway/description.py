"""The gateway's paths for /openapi.json: they are served in front of the framework that would describe them."""

from typing import Any, Final

ERRORS: Final = {
    "400": "The body is not JSON, names no model, or the backend rejects it.",
    "401": "No subscription key, or one that is not valid.",
    "403": "The subscription may not use the deployment.",
    "404": "There is no such deployment (`DeploymentNotFound`) or operation.",
    "413": "The body is over the size limit.",
    "429": "Every backend of the deployment is throttled: try again after `Retry-After`.",
    "502": "The backend's answer was no answer.",
    "503": "No backend of the deployment is available: try again after `Retry-After`.",
}

OPERATIONS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "chat/completions": ("Complete a chat", {"messages": [{"role": "user", "content": "Hello"}], "stream": False}),
    "completions": ("Complete a text", {"prompt": "Hello", "max_tokens": 50}),
    "embeddings": ("Embed texts", {"input": ["Hello"]}),
    "responses": ("Create a response", {"input": "Hello", "stream": False}),
}

_ERROR_SCHEMA: Final = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": "string"},
                "code": {"type": "string"},
            },
            "required": ["message", "type", "code"],
        }
    },
    "required": ["error"],
}


def described_paths() -> dict[str, Any]:
    """Return OpenAPI path items for the four URL shapes; bodies and answers are Azure OpenAI's own."""
    paths: dict[str, Any] = {}
    for operation, (summary, example) in OPERATIONS.items():
        name = operation.replace("/", "-")
        if operation != "responses":
            for prefix, shape in (("/openai/deployments", "azure"), ("/deployments", "api-management")):
                path = f"{prefix}/{{deployment}}/{operation}"
                paths[path] = {"post": _call(f"{shape}-{name}", summary, example, _DEPLOYMENT)}
        body = {"model": "gpt-4o", **example}
        for prefix, shape in (("/openai/v1", "azure-v1"), ("/v1", "openai")):
            paths[f"{prefix}/{operation}"] = {"post": _call(f"{shape}-{name}", summary, body, [])}
    for prefix, shape in (("/openai/v1", "azure-v1"), ("/v1", "openai"), ("/openai", "azure")):
        paths[f"{prefix}/models"] = {"get": _models(f"{shape}-list-models")}
    return paths


_DEPLOYMENT: Final = [
    {"name": "deployment", "in": "path", "required": True, "schema": {"type": "string"}, "example": "gpt-4o"},
    {
        "name": "api-version",
        "in": "query",
        "required": True,
        "schema": {"type": "string"},
        "example": "2024-10-21",
        "description": "Passed on to the backend as it is.",
    },
]


def _call(operation_id: str, summary: str, example: Any, parameters: list[Any]) -> dict[str, Any]:
    return {
        "operationId": operation_id,
        "summary": summary,
        "description": "Azure OpenAI's own request and answer, streamed where the body says `stream`.",
        "tags": ["gateway"],
        "parameters": parameters,
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"type": "object"}, "example": example}},
        },
        "responses": {"200": _answer(), **_errors(ERRORS)},
    }


def _answer() -> dict[str, Any]:
    headers = {
        "x-request-id": "Also the id of the usage event.",
        "x-gateway-backend": "The backend that answered, by its name in the catalog.",
        "x-gateway-attempts": "How many backends were asked.",
    }
    return {
        "description": "The backend's answer.",
        "headers": {name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()},
        "content": {
            "application/json": {"schema": {"type": "object"}},
            "text/event-stream": {"schema": {"type": "string"}},
        },
    }


def _models(operation_id: str) -> dict[str, Any]:
    return {
        "operationId": operation_id,
        "summary": "List the deployments that the caller may use",
        "tags": ["gateway"],
        "responses": {
            "200": {
                "description": "OpenAI's list of models.",
                "content": {"application/json": {"schema": {"type": "object"}}},
            },
            **_errors({"401": ERRORS["401"]}),
        },
    }


def _errors(reasons: dict[str, str]) -> dict[str, Any]:
    content = {"application/json": {"schema": _ERROR_SCHEMA}}
    return {status: {"description": reason, "content": content} for status, reason in reasons.items()}
