"""The gateway's paths for /openapi.json: they are served in front of the framework that would describe them."""

from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class _Described:
    """`bodies` names the schemas `{bodies}Request` and `{bodies}Answer`."""

    summary: str
    bodies: str
    example: dict[str, Any]


OPERATIONS: Final = {
    "chat/completions": _Described(
        "Complete a chat", "Chat", {"messages": [{"role": "user", "content": "Hello"}], "stream": False}
    ),
    "completions": _Described("Complete a text", "Completion", {"prompt": "Hello", "max_tokens": 50}),
    "embeddings": _Described("Embed texts", "Embeddings", {"input": ["Hello"]}),
    "responses": _Described("Create a response", "Responses", {"input": "Hello", "stream": False}),
}


def described_paths() -> dict[str, Any]:
    """Return OpenAPI path items for the four URL shapes; bodies and answers are Azure OpenAI's own."""
    paths: dict[str, Any] = {}
    for operation, described in OPERATIONS.items():
        name = operation.replace("/", "-")
        if operation != "responses":
            for prefix, shape in (("/openai/deployments", "azure"), ("/deployments", "api-management")):
                path = f"{prefix}/{{deployment}}/{operation}"
                paths[path] = {"post": _call(f"{shape}-{name}", described, described.example, _DEPLOYMENT)}
        example = {"model": "gpt-4o", **described.example}
        for prefix, shape in (("/openai/v1", "azure-v1"), ("/v1", "openai")):
            paths[f"{prefix}/{operation}"] = {"post": _call(f"{shape}-{name}", described, example, [])}
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


def _call(operation_id: str, described: _Described, example: Any, parameters: list[Any]) -> dict[str, Any]:
    return {
        "operationId": operation_id,
        "summary": described.summary,
        "description": "Azure OpenAI's own request and answer, streamed where the body says `stream`.",
        "tags": ["gateway"],
        "parameters": parameters,
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _schema(f"{described.bodies}Request"), "example": example}},
        },
        "responses": {"200": _answer(f"{described.bodies}Answer"), **_errors(ERRORS)},
    }


def _answer(schema: str) -> dict[str, Any]:
    headers = {
        "x-request-id": "Also the id of the usage event.",
        "x-gateway-backend": "The backend that answered, by its name in the catalog.",
        "x-gateway-attempts": "How many backends were asked.",
    }
    return {
        "description": "The backend's answer.",
        "headers": {name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()},
        "content": {
            "application/json": {"schema": _schema(schema)},
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
                "content": {"application/json": {"schema": _schema("ModelList")}},
            },
            **_errors({"401": ERRORS["401"]}),
        },
    }


def _schema(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _errors(reasons: dict[str, str]) -> dict[str, Any]:
    """Describe the reasons; the shape of errors is the whole app's, and added where the whole is described."""
    return {status: {"description": reason} for status, reason in reasons.items()}
