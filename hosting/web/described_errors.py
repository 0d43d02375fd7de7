"""Errors in the description of the API: each has OpenAI's shape, whatever the framework says of its own."""

from typing import Any, Final

_SHAPE: Final = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}}
_FRAMEWORKS: Final = ("HTTPValidationError", "ValidationError")


def describe_errors(described: dict[str, Any]) -> None:
    """Give every error of every operation the schema `ErrorBody`, in place."""
    for item in described["paths"].values():
        for operation in item.values():
            for status, answer in operation.get("responses", {}).items():
                if str(status)[:1] in {"4", "5"} and "application/json" not in answer.get("content", {}):
                    answer["content"] = _SHAPE
                elif answer.get("description") == "Validation Error":
                    answer |= {"description": "A parameter is not what the route takes.", "content": _SHAPE}
    for name in _FRAMEWORKS:
        described["components"]["schemas"].pop(name, None)
