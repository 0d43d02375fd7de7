"""The index of partitions: which subscriptions have rollups in a month, and detail rows on a day.

A table is read quickly by partition, and as a whole only slowly. So the collector notes a partition here before it
writes the first row of it, and so does the sweep for its orphans, which are summed with the rollups: whoever closes a
day or deletes old rows then reads just what belongs to it.

    table `partitions`  PartitionKey      RowKey                   columns
    of rollups          `rollups|yyyymm`  `subscription`           `subscription`; kept for ever
    of detail rows      `usage|yyyymm`    `yyyymmdd|subscription`  `subscription`, `day`; kept as long as the rows
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import batched
from typing import Final

from chargeback.keys import key
from seams.tables import MAX_OPERATIONS, Entity, Tables, Upsert

PARTITIONS: Final = "partitions"
_MAX_NOTED: Final = 16_384
_DAY: Final = timedelta(days=1)

type SubscriptionDay = tuple[str, date]


@dataclass(frozen=True, slots=True)
class DetailDay:
    """A day of a subscription that has, or had, detail rows; `entity` says so in the index."""

    subscription: str
    day: date
    entity: Entity


class PartitionIndex:
    """One object a process; it remembers what it has noted, so that each partition costs a process one write."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._noted: OrderedDict[SubscriptionDay, None] = OrderedDict()

    async def note(self, used: Iterable[SubscriptionDay], today: date) -> None:
        """Note the partitions of these subscriptions' days. Raises TableUnavailable."""
        # Old days are noted each time: their detail rows, and the note of them, may have been deleted since.
        new = [pair for pair in used if pair not in self._noted or pair[1] < today - _DAY]
        if not new:
            return
        table = await self._tables.table(PARTITIONS)
        for rows in _by_partition(new):
            for chunk in batched(rows, MAX_OPERATIONS, strict=False):
                await table.transact([Upsert(row) for row in chunk])
        self._noted.update(dict.fromkeys(new))
        while len(self._noted) > _MAX_NOTED:
            self._noted.popitem(last=False)

    async def subscriptions(self, period: str) -> list[str]:
        """Return the subscriptions that have rollups in a month, yyyy-mm. Raises TableUnavailable."""
        table = await self._tables.table(PARTITIONS)
        rows = table.query(key("rollups", period.replace("-", "")))
        return [str(row.values["subscription"]) async for row in rows]

    async def detail_days(self, first: date, end: date) -> list[DetailDay]:
        """Return the subscriptions' days with detail rows, first <= day < end, both of one month."""
        table = await self._tables.table(PARTITIONS)
        rows = table.query(key("usage", f"{first:%Y%m}"), f"{first:%Y%m%d}", f"{end:%Y%m%d}")
        return [
            DetailDay(str(row.values["subscription"]), date.fromisoformat(str(row.values["day"])), row)
            async for row in rows
        ]


def _by_partition(used: Iterable[SubscriptionDay]) -> Iterable[Iterable[Entity]]:
    partitions: dict[str, dict[str, Entity]] = {}
    for subscription, day in used:
        for row in (_rollups_row(subscription, day), _details_row(subscription, day)):
            partitions.setdefault(row.partition, {})[row.row] = row
    return [rows.values() for rows in partitions.values()]


def _rollups_row(subscription: str, day: date) -> Entity:
    return Entity(key("rollups", f"{day:%Y%m}"), key(subscription), {"subscription": subscription})


def _details_row(subscription: str, day: date) -> Entity:
    columns = {"subscription": subscription, "day": day.isoformat()}
    return Entity(key("usage", f"{day:%Y%m}"), key(f"{day:%Y%m%d}", subscription), columns)
