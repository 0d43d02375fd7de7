"""Enrichment as the app's settings make it, and what its calls cost."""

import json
from decimal import Decimal

import pytest
from pydantic import ValidationError

from chargeback.prices import Prices
from enrichment.calls.calls import ModelCall
from gateway.catalog.catalog_file import load_catalog
from hosting.services.charges import StatementPricing
from hosting.services.enrichers import CallCosts
from hosting.settings import Settings
from seams.clock import SystemClock

CATALOG = load_catalog(
    json.dumps(
        {
            "backends": {
                name: {"endpoint": f"https://{name}.example", "deployment_type": kind, "kind": paid}
                for name, kind, paid in (
                    ("east", "global", "paygo"),
                    ("zone", "datazone", "paygo"),
                    ("own", "ptu", "ptu"),
                )
            },
            "deployments": {"gpt-4o-mini": {"model": "gpt-4o-mini", "pool": [{"backend": "east"}]}},
            "subscriptions": {"s": {"key_hashes": [f"sha256:{'ab' * 32}"]}},
        }
    ),
    lambda _: None,
)
COSTS = CallCosts(StatementPricing(Prices()), CATALOG, SystemClock())


def call(backend: str, model: str = "gpt-4o-mini-2024-07-18", *, replayed: bool = False) -> ModelCall:
    return ModelCall(
        request_id="r", deployment="gpt-4o-mini", model=model, backend=backend, prompt_tokens=1_000_000,
        completion_tokens=1_000_000, replayed=replayed,
    )  # fmt: skip


def test_a_call_costs_what_the_statement_says() -> None:
    """List price, ten per cent more in a data zone, nothing on provisioned capacity or out of the cache."""
    east, zone = COSTS.cost(call("east")), COSTS.cost(call("zone"))
    assert east is not None
    assert east > 0
    assert zone == east * Decimal("1.1")
    assert COSTS.cost(call("own")) == 0
    assert COSTS.cost(call("east", replayed=True)) == 0


@pytest.mark.parametrize("unknown", [call("gone"), call("east", "no-such-model")])
def test_what_has_no_price_has_no_cost(unknown: ModelCall) -> None:
    """An unknown backend or model is not taken for free."""
    assert COSTS.cost(unknown) is None


def test_a_wrong_matrix_stops_the_start() -> None:
    """A priority matrix that is none is refused with the settings."""
    with pytest.raises(ValidationError, match="three rows"):
        Settings(priority_matrix="1 2 3")
