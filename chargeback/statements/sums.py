"""What a subscription used in a month, and its price: its rollups, and its orphans as rollups of a request each."""

from collections.abc import AsyncIterator
from datetime import date

from chargeback.ledger import rollups
from chargeback.ledger.rollups import ROLLUPS, Names, Rollup
from chargeback.orphans.orphans import Orphans
from chargeback.prices import Price, Prices
from gateway.usage import Meters
from seams.tables import Tables


async def used(tables: Tables, subscription: str, period: str, first: date | None = None) -> AsyncIterator[Rollup]:
    """Yield the sums of a month, yyyy-mm; with `first`, from this UTC day on. Raises TableUnavailable."""
    table = await tables.table(ROLLUPS)
    partition = rollups.rollup_partition(subscription, period)
    async for entity in table.query(partition, first="" if first is None else f"{first:%Y%m%d}"):
        yield rollups.from_entity(entity)
    async for orphan in Orphans(tables).lines(subscription, period):
        if first is None or orphan.names.day >= first:
            yield orphan


def price_of(names: Names, meters: Meters, prices: Prices) -> Price | None:
    """Return what meters cost that were summed under these names; None where any of it has no known price."""
    return prices.price(
        names.model,
        names.day,
        meters,
        model_version=names.model_version,
        deployment_type=names.deployment_type,
        service_tier=names.service_tier,
        context_tier=names.context_tier,
    )
