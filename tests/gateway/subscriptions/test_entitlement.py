"""How a subscription's cache is written, and what of it is refused."""

from typing import Any

import pytest
from pydantic import ValidationError

from gateway.catalog.catalog import CacheRules
from gateway.subscriptions.entitlement import Entitlement, problem


def problems(fields: dict[str, Any]) -> list[str]:
    with pytest.raises(ValidationError) as wrong:
        Entitlement.model_validate(fields)
    return [problem("", details) for details in wrong.value.errors(include_url=False)]


def test_a_cache_is_off_by_default() -> None:
    """A subscription without the table has no cache."""
    assert Entitlement().subscription("team-a", ()).cache is None


def test_defaults() -> None:
    """A cache needs its kind alone: an hour, all deployments, temperature 0 only."""
    cache = Entitlement.model_validate({"cache": {"kind": "exact"}}).subscription("team-a", ()).cache
    assert cache == CacheRules("exact", 3600, None, False, 0.95, "text-embedding-3-small")


def test_a_cache_is_written_as_it_was_read() -> None:
    """Every field survives the way to a subscription and back."""
    cache = {
        "kind": "semantic",
        "ttl_seconds": 60,
        "deployments": ["embed", "gpt-4o"],
        "any_temperature": True,
        "threshold": 0.9,
        "embeddings": "embed",
    }
    read = Entitlement.model_validate({"cache": cache})
    assert Entitlement.of(read.subscription("team-a", ())) == read


@pytest.mark.parametrize(
    ("cache", "reason"),
    [
        ({}, "cache.kind: is missing"),
        ({"kind": "fuzzy"}, "cache.kind: Input should be 'exact' or 'semantic'"),
        ({"kind": "exact", "ttl": 5}, "cache.ttl: unknown key"),
        ({"kind": "exact", "ttl_seconds": 0}, "cache.ttl_seconds: Input should be greater than 0"),
        ({"kind": "exact", "ttl_seconds": 10**9}, "cache.ttl_seconds: Input should be less than or equal to 2592000"),
        ({"kind": "semantic", "threshold": 1.5}, "cache.threshold: Input should be less than or equal to 1"),
        ({"kind": "exact", "any_temperature": "yes"}, "cache.any_temperature: Input should be a valid boolean"),
    ],
)
def test_a_wrong_cache(cache: dict[str, Any], reason: str) -> None:
    """What cannot be meant is refused with its place and the reason."""
    assert problems({"cache": cache}) == [reason]


def test_personal_data_is_hidden_unless_told_otherwise() -> None:
    """Placeholders stand for personal data in tickets where a subscription says nothing; false sends it as it is."""
    assert Entitlement.model_validate({}).subscription("desk", ()).hide_personal_data
    opted_out = Entitlement.model_validate({"hide_personal_data": False})
    assert not opted_out.subscription("desk", ()).hide_personal_data
    assert Entitlement.of(opted_out.subscription("desk", ())) == opted_out


def test_a_cache_of_what_may_not_be_used() -> None:
    """A cache names deployments that the subscription may use, the one for vectors among them, and that there are."""
    semantic = {"kind": "semantic", "embeddings": "embed"}
    assert problems({"deployments": ["gpt-4o"], "cache": semantic}) == [
        "cache names the deployment embed, which the subscription may not use"
    ]
    read = Entitlement.model_validate({"cache": semantic | {"deployments": ["gpt-9"]}})
    assert read.unknown_deployments({"embed"}) == ["gpt-9"]
    assert read.unknown_deployments(set()) == ["gpt-9", "embed"]
    assert Entitlement.model_validate({"cache": {"kind": "exact"}}).unknown_deployments(set()) == []
