"""What a subscription used in a month: its rollups, and its orphans as rollups of one estimated request each."""

from collections.abc import AsyncIterator
from datetime import date

from chargeback import rollups
from chargeback.orphans import Orphans
from chargeback.rollups import ROLLUPS, Rollup
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
