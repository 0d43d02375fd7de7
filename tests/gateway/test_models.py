"""The list of models as a subscription and an operator see it."""

import json
from dataclasses import replace

import pytest

from gateway.catalog.catalog import NO_LIMITS, Deployment, Subscription
from gateway.errors import DeploymentNotFound
from gateway.identity.callers import Caller
from gateway.models import model, model_list

DEPLOYMENTS = {name: Deployment(name, "gpt-4o", ()) for name in ("chat", "embed", "secret")}
TEAM = Subscription("team", (), "", frozenset({"chat", "embed"}), NO_LIMITS, None, None)


def listed(caller: Caller) -> list[str]:
    answer = json.loads(model_list(DEPLOYMENTS.values(), caller))
    assert answer["object"] == "list"
    return [entry["id"] for entry in answer["data"]]


def test_a_subscription_sees_what_it_may_use() -> None:
    """Deployments that a subscription may not use are not in its list."""
    assert listed(Caller(TEAM)) == ["chat", "embed"]
    assert listed(Caller(replace(TEAM, deployments=None))) == ["chat", "embed", "secret"]
    assert listed(Caller(replace(TEAM, deployments=frozenset()))) == []


def test_an_operator_sees_all() -> None:
    """An operator's list holds every deployment."""
    assert listed(Caller(None)) == ["chat", "embed", "secret"]


def test_one_model() -> None:
    """A model by its name has the fields of OpenAI's model object."""
    answer = json.loads(model(DEPLOYMENTS, Caller(TEAM), "chat"))
    assert answer == {"id": "chat", "object": "model", "created": 0, "owned_by": "azure", "model": "gpt-4o"}


def test_what_may_not_be_used_does_not_exist() -> None:
    """A deployment that is another's is told from one that is nobody's by its name alone."""
    messages = []
    for name in ("secret", "nowhere"):
        with pytest.raises(DeploymentNotFound) as caught:
            model(DEPLOYMENTS, Caller(TEAM), name)
        messages.append(str(caught.value).replace(name, "?"))
    assert len(set(messages)) == 1
