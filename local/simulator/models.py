"""The models of a backend, as `GET /openai/models` and `GET /openai/v1/models` list them."""

from typing import Any

import msgspec

from local.simulator import errors
from local.simulator.settings import BackendSettings

CREATED = 1_735_689_600


def listing(settings: BackendSettings, item: str) -> bytes:
    """Return the list, or one model where `item` names it. Raises AzureError, 404, for a model that is not there."""
    models = [_model(name) for name in sorted({entry.model for entry in settings.deployments.values()})]
    if not item:
        return msgspec.json.encode({"data": models, "object": "list"})
    for model in models:
        if model["id"] == item:
            return msgspec.json.encode(model)
    raise errors.resource_not_found()


def _model(name: str) -> dict[str, Any]:
    embeds = "embedding" in name
    return {
        "capabilities": {
            "chat_completion": not embeds,
            "completion": not embeds,
            "embeddings": embeds,
            "fine_tune": False,
            "inference": True,
        },
        "created": CREATED,
        "created_at": CREATED,
        "id": name,
        "lifecycle_status": "generally-available",
        "object": "model",
        "owned_by": "azure-openai",
        "status": "succeeded",
    }
