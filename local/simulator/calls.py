"""What a request asks for: which operation of which deployment, in which of Azure's two URL forms."""

from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from local.simulator import errors
from local.simulator.exchange import Exchange
from local.simulator.settings import Deployment
from local.simulator.tokens import Tokenizer

OPERATIONS = frozenset(("chat/completions", "completions", "embeddings", "responses"))
STORED = frozenset((("GET", ""), ("DELETE", ""), ("POST", "cancel"), ("GET", "input_items")))
"""What may be asked of a stored response."""
USAGE_IN_STREAMS_SINCE = "2024-08-01"
"""The first api-version (2024-08-01-preview) that takes `stream_options`."""

Report = Literal["true", "missing", "zero"]


@dataclass(frozen=True, slots=True)
class Route:
    """A path, understood. `deployment` is empty where the body's `model` names it; `item` is a response's id.

    `action` is what is asked of that response: `cancel`, `input_items`, or nothing but the method.
    """

    operation: str
    deployment: str = ""
    item: str = ""
    action: str = ""
    v1: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a deployment. `created` is seconds since 1970; `report` is what a fault says of its usage."""

    request_id: str
    operation: str
    deployment_name: str
    deployment: Deployment
    tokenizer: Tokenizer
    body: bytes
    created: int
    api_version: str
    v1: bool
    report: Report = "true"

    @property
    def model(self) -> str:
        return self.deployment.model

    @property
    def hex_id(self) -> str:
        return self.request_id.replace("-", "")

    def takes_stream_options(self) -> bool:
        return self.v1 or self.api_version[:10] >= USAGE_IN_STREAMS_SINCE


class Target(msgspec.Struct, frozen=True):
    model: str = ""


_targets = msgspec.json.Decoder(Target)


def target_model(body: bytes) -> str:
    """Return the body's `model`, empty where there is none. Raises AzureError where the body is not JSON."""
    return decoded(_targets, body).model


def decoded[T](decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Parse a request's body. Raises AzureError, 400, for what is not JSON or has a wrong type in it."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as wrong:
        raise errors.invalid_request(f"Invalid request: {wrong}") from wrong
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise errors.invalid_request(
            "We could not parse the JSON body of your request. The API expects a JSON payload, but what was sent was "
            "not valid JSON."
        ) from wrong


def converted[T](value: Any, wanted: type[T]) -> T:
    """Return a part of a parsed body as `wanted`. Raises AzureError, 400, where it is something else."""
    try:
        return msgspec.convert(value, wanted)
    except msgspec.ValidationError as wrong:
        raise errors.invalid_request(f"Invalid request: {wrong}") from wrong


def find_route(exchange: Exchange) -> Route:
    """Return what a path asks for. Raises AzureError, 404, for any other path and a missing api-version."""
    steps = exchange.path.strip("/").split("/")
    if steps[:2] == ["openai", "v1"]:
        return _route("/".join(steps[2:]), exchange.method, v1=True)
    if steps[0] != "openai" or not exchange.query.get("api-version"):
        raise errors.resource_not_found()
    if len(steps) > 3 and steps[1] == "deployments":
        operation = "/".join(steps[3:])
        if exchange.method == "POST" and operation in OPERATIONS - {"responses"}:
            return Route(operation, deployment=steps[2])
        raise errors.resource_not_found()
    return _route("/".join(steps[1:]), exchange.method, v1=False)


def _route(path: str, method: str, *, v1: bool) -> Route:
    if method == "POST" and path in OPERATIONS and (v1 or path == "responses"):
        return Route(path, v1=v1)
    operation, _, item = path.partition("/")
    if operation == "models" and method == "GET":
        return Route("models", item=item, v1=v1)
    item, _, action = item.partition("/")
    if operation == "responses" and item and (method, action) in STORED:
        return Route("responses", item=item, action=action, v1=v1)
    raise errors.resource_not_found()
