"""What requests cost and may come to cost, at the prices of the statement, for budgets."""

import logging
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Final, Protocol

from gateway.catalog.catalog import Deployment
from gateway.limits.estimates import Estimate
from gateway.limits.limits import units
from gateway.usage import DeploymentType, Meters, UsageEvent

SAMPLE: Final = 1000
"""Tokens whose price stands for others when a request's cost is estimated."""

MOST_UNPRICED: Final = 1000
MOST_SAMPLES: Final = 1000

logger = logging.getLogger(__name__)


class Pricing(Protocol):
    """The prices that statements are made with, in US dollars."""

    def amount(
        self, model: str, day: date, meters: Meters, *, model_version: str, deployment_type: str, service_tier: str
    ) -> Decimal | None:
        """Return what one request's meters cost; None where there is no price for it."""
        ...


class Costs:
    """Amounts are whole units of money (limits.MONEY_UNIT). Unpriced use counts nothing and is logged."""

    def __init__(self, pricing: Pricing) -> None:
        self._pricing = pricing
        self._unpriced: set[tuple[str, str]] = set()
        self._samples: dict[tuple[str, frozenset[DeploymentType], int], tuple[Decimal, Decimal]] = {}

    def of(self, events: Iterable[UsageEvent]) -> int:
        """Return what the statement charges for these events, which ended on the UTC days of their times."""
        return units(sum((self._price(event) for event in events), Decimal(0)))

    def most(self, deployment: Deployment, estimate: Estimate, today: int) -> int:
        """Return what a request may cost at the dearest of the deployment's backends; `today` is an ordinal."""
        kinds = frozenset(member.backend.deployment_type for tier in deployment.tiers for member in tier)
        key = (deployment.model, kinds, today)
        sample = self._samples.get(key)
        if sample is None:
            if len(self._samples) >= MOST_SAMPLES:
                self._samples.clear()
            sample = self._samples[key] = (
                self._dearest(deployment.model, kinds, Meters(prompt_tokens=SAMPLE), today),
                self._dearest(deployment.model, kinds, Meters(completion_tokens=SAMPLE), today),
            )
        return units((estimate.prompt * sample[0] + estimate.completion * sample[1]) / SAMPLE, up=True)

    def _dearest(self, model: str, kinds: Iterable[DeploymentType], meters: Meters, today: int) -> Decimal:
        day = date.fromordinal(today)
        prices = [
            self._pricing.amount(model, day, meters, model_version="", deployment_type=kind, service_tier="")
            for kind in kinds
        ]
        return max((price for price in prices if price is not None), default=Decimal(0))

    def _price(self, event: UsageEvent) -> Decimal:
        price = self._pricing.amount(
            event.model,
            event.time.date(),
            event.meters,
            model_version=event.model_version,
            deployment_type=event.deployment_type,
            service_tier=event.service_tier,
        )
        if price is None:
            name = (event.model, event.deployment_type)
            if name not in self._unpriced and len(self._unpriced) < MOST_UNPRICED:
                self._unpriced.add(name)
                logger.error("No price for %s (%s): budgets count it as nothing", *name)
        return price or Decimal(0)
