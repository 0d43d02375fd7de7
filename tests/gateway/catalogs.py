"""A catalog for tests: simulated backends, two subscriptions and an operator."""

import hashlib
from typing import Any

from gateway.answers.reports import split_version
from local.simulator.server import Simulator
from local.simulator.settings import Deployment

KEY = "sk-team-a"
OTHER_KEY = "sk-team-b"
OPERATOR_KEY = "sk-operator"
UPSTREAM_KEY = "made-up-upstream-key"
MODELS = {
    "gpt-4o": Deployment(model="gpt-4o-2024-11-20"),
    "gpt-5-mini": Deployment(model="gpt-5-mini-2025-08-07"),
    "embed": Deployment(model="text-embedding-3-small"),
}


def key_hash(key: str) -> str:
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


def catalog_of(simulators: dict[str, Simulator], **changes: Any) -> dict[str, Any]:
    """Return a catalog with all simulators in one pool: the first is preferred, the others share the second tier."""
    pool = [{"backend": name, "priority": 1 + (place > 0)} for place, name in enumerate(simulators)]
    catalog = {
        "backends": {
            name: {"endpoint": simulator.url, "auth": {"api_key": "setting:UPSTREAM_KEY"}}
            for name, simulator in simulators.items()
        },
        "deployments": {
            name: {"model": split_version(settings.model)[0], "pool": pool} for name, settings in MODELS.items()
        },
        "subscriptions": {
            "team-a": {"key_hashes": [key_hash(KEY)], "cost_centre": "4711"},
            "team-b": {"key_hashes": [key_hash(OTHER_KEY)], "deployments": ["embed"]},
        },
        "operators": {"key_hashes": [key_hash(OPERATOR_KEY)]},
    }
    return catalog | changes
