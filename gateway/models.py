"""`GET models`: the deployments that a caller may use, in the shape of OpenAI's list of models."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from gateway.catalog.catalog import Deployment
from gateway.errors import DeploymentNotFound
from gateway.identity.callers import Caller

CREATED = 0
"""The API wants a time in epoch seconds; a deployment's age is nobody's business here."""


def model_list(deployments: Iterable[Deployment], caller: Caller) -> bytes:
    """Return `{"object": "list", "data": [model, ...]}` as JSON bytes."""
    return msgspec.json.encode(
        {"object": "list", "data": [_model(each) for each in deployments if _may_use(caller, each)]}
    )


def model(deployments: Mapping[str, Deployment], caller: Caller, name: str) -> bytes:
    """Return one model as JSON bytes. Raises DeploymentNotFound."""
    deployment = deployments.get(name)
    if deployment is None or not _may_use(caller, deployment):
        raise DeploymentNotFound(f"The deployment {name[:100]} does not exist.", param="model")
    return msgspec.json.encode(_model(deployment))


def _may_use(caller: Caller, deployment: Deployment) -> bool:
    subscription = caller.subscription
    return subscription is None or subscription.deployments is None or deployment.name in subscription.deployments


def _model(deployment: Deployment) -> dict[str, Any]:
    return {
        "id": deployment.name,
        "object": "model",
        "created": CREATED,
        "owned_by": "azure",
        "model": deployment.model,
    }
