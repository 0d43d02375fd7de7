"""Chargeback's prices and rollups as the gateway's limits see them: budgets go by what the statement says."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal

from chargeback.periods import next_month
from chargeback.prices import Prices
from chargeback.statements.sums import price_of, used
from gateway.usage import Meters
from seams.clock import Clock
from seams.tables import Tables


class StatementPricing:
    """Prices one request as the statement prices the sum that it is part of."""

    def __init__(self, prices: Prices) -> None:
        self._prices = prices

    def amount(
        self, model: str, day: date, meters: Meters, *, model_version: str, deployment_type: str, service_tier: str
    ) -> Decimal | None:
        """Return the exact amount in US dollars; None where there is no price."""
        price = self._prices.price(
            model,
            day,
            meters,
            model_version=model_version,
            deployment_type=deployment_type,
            service_tier=service_tier,
            context_tier=self._prices.context_tier(model, model_version, day, meters.prompt_tokens),
        )
        return None if price is None else price.amount


class RollupCharges:
    """Sums a subscription's rollups and orphans since a day: what budgets and quotas begin with after a start."""

    def __init__(self, tables: Tables, prices: Prices, clock: Clock) -> None:
        self._tables = tables
        self._prices = prices
        self._clock = clock

    async def used(self, subscription: str, deployment: str | None, first: date) -> tuple[int, Decimal]:
        """Return tokens and US dollars since this UTC day; of all deployments for None. Raises TableUnavailable."""
        tokens, amount = 0, Decimal(0)
        for month in _months(first, self._clock.now().date()):
            async for rollup in used(self._tables, subscription, month, first):
                names = rollup.names
                if deployment is not None and names.deployment != deployment:
                    continue
                use = rollup.usage()
                tokens += use.prompt_tokens + use.completion_tokens
                price = price_of(names, use, self._prices)
                amount += price.amount if price is not None else 0
        return tokens, amount


def _months(first: date, last: date) -> Iterator[str]:
    """Yield yyyy-mm of each month that has days between these two."""
    month = first.replace(day=1)
    while month <= last:
        yield f"{month:%Y-%m}"
        month = next_month(month)
