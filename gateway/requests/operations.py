"""What a path asks for: the four URL shapes in which callers reach a deployment's operations.

/openai/deployments/{deployment}/{operation}   Azure SDKs
/deployments/{deployment}/{operation}          API Management style
/openai/v1/{operation}, /v1/{operation}        Azure's v1 API and the plain OpenAI SDK: the body names the model
/openai/{operation}                            Azure SDKs, for operations without a deployment in the path
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

from gateway.errors import OperationNotFound

PREFIXES: Final = ("/openai/", "/v1/", "/deployments/")
"""Paths that begin so are the gateway's."""

CHAT: Final = "chat/completions"
COMPLETIONS: Final = "completions"
EMBEDDINGS: Final = "embeddings"
RESPONSES: Final = "responses"
MODELS: Final = "models"

INCLUDES_USAGE: Final = frozenset({CHAT, COMPLETIONS})
"""Operations whose streams carry usage only where `stream_options.include_usage` asks for it."""

STORED: Final = "responses/"
"""What is asked of a response that a backend keeps: GET and DELETE of it, POST cancel, GET input_items."""

METERED: Final = frozenset({CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES})
"""Operations whose JSON answers carry usage."""

TAKES_JSON: Final = METERED | {"audio/speech", "images/generations"}
"""Operations whose request is JSON whatever its content type says: what it says is counted and checked."""

BILLED_BY_UNITS: Final = ("audio/", "images/")
"""Operations that begin so are billed by pictures, characters or seconds."""

LONGEST_PATH: Final = 1024
"""Bytes; what a path asks for is remembered, and callers choose their paths."""

_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:~-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.:~-]*)*")


@dataclass(frozen=True, slots=True)
class Target:
    """`deployment` is None where the body names it. `upstream` is the path there, with a `{}` for the deployment."""

    operation: str
    deployment: str | None
    upstream: str


def target(path: str) -> Target:
    """Return what this path (percent-encoded, as it came) asks for. Raises OperationNotFound."""
    if len(path) > LONGEST_PATH:
        raise _not_found(path)
    return _target(unquote(path))


@lru_cache(maxsize=4096)
def _target(path: str) -> Target:
    for prefix in ("/openai/deployments/", "/deployments/"):
        if path.startswith(prefix):
            deployment, _, operation = path.removeprefix(prefix).partition("/")
            if deployment and _SAFE.fullmatch(operation):
                operation = _known(operation)
                return Target(operation, deployment, f"/openai/deployments/{{}}/{operation}")
    for prefix, upstream in (("/openai/v1/", "/openai/v1/"), ("/v1/", "/openai/v1/"), ("/openai/", "/openai/")):
        if path.startswith(prefix):
            operation = path[len(prefix) :]
            if _SAFE.fullmatch(operation) and not operation.startswith("deployments/"):
                operation = _known(operation)
                return Target(operation, None, upstream + operation)
            break
    raise _not_found(path)


def _known(operation: str) -> str:
    # Azure's routes do not heed case: Chat/Completions is answered, and must be metered like chat/completions.
    lower = operation.lower()
    return lower if lower in TAKES_JSON else operation


def _not_found(path: str) -> OperationNotFound:
    return OperationNotFound(f"There is no operation at {path[:200]}.")


def is_billed(operation: str) -> bool:
    """Tell whether a call of this operation may cost something."""
    return operation in METERED or operation.startswith(BILLED_BY_UNITS)


def includes_usage(upstream: str, api_version: str) -> bool:
    """Tell whether `stream_options.include_usage` is known there: the v1 API, and versions from 2024-08-01-preview on.

    Source: Azure OpenAI's API version lifecycle; older versions answer 400 to the unknown argument.
    """
    return upstream.startswith("/openai/v1/") or api_version[:10] >= "2024-08-01"


def stored_response(target: Target) -> str | None:
    """Return the id of the stored response that a path is about, or None."""
    if target.deployment is not None or not target.operation.startswith(STORED):
        return None
    return target.operation.split("/")[1]
