"""Calls for a limiter without a gateway around it, and the usage events that end them."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from gateway.call import Call
from gateway.catalog.catalog import Backend, Deployment, ManagedIdentity, Member, Subscription
from gateway.identity.callers import Caller
from gateway.requests import operations
from gateway.requests.bodies import Peek
from gateway.subscriptions.entitlement import Entitlement
from gateway.usage import Meters, UsageEvent
from tests.gateway.event import an_event

BACKEND = Backend("one", "https://one.example", "paygo", "global", "", ManagedIdentity())
DEPLOYMENT = Deployment("gpt-4o", "gpt-4o", ((Member(BACKEND, "gpt-4o", 1, 1),),))


class NothingCharged:
    """A ledger that is empty."""

    async def used(self, subscription: str, deployment: str | None, first: date) -> tuple[int, Decimal]:
        return 0, Decimal(0)


class CentPerToken:
    """Prices that make sums easy: a cent a token; nothing is known of the model `free`."""

    def amount(
        self, model: str, day: date, meters: Meters, *, model_version: str, deployment_type: str, service_tier: str
    ) -> Decimal | None:
        if model == "free":
            return None
        return Decimal("0.01") * (meters.prompt_tokens + meters.completion_tokens)


def subscription_of(fields: dict[str, Any], name: str = "team-a") -> Subscription:
    """Return a subscription with these fields of the catalog, budgets as strings."""
    return Entitlement.model_validate(fields).subscription(name, ())


def call_of(subscription: Subscription, tokens: int = 0) -> Call:
    """Return a call that reserves exactly `tokens`: its body is empty, and its answer bounded."""
    return Call(
        id="1",
        caller=Caller(subscription),
        subscription=subscription,
        target=operations.target("/v1/chat/completions"),
        deployment=DEPLOYMENT,
        method="POST",
        query="",
        headers={},
        body=b"",
        peek=Peek(max_tokens=tokens or None),
        hide_usage=False,
        started=0.0,
    )


def used(tokens: int, *, model: str = "gpt-4o", time: datetime | None = None, estimated: bool = False) -> UsageEvent:
    """Return the event of an answer of so many tokens."""
    meters = Meters(completion_tokens=tokens)
    return an_event("1", time=time or datetime.now(UTC), model=model, estimated=estimated, meters=meters)
