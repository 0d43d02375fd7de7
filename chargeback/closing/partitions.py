"""The index of partitions: which subscriptions have rollups or orphans in a month, and detail rows on a day.

A table is read quickly by partition, and as a whole only slowly. So the collector notes a partition here before it
writes the first row of it, and so does the sweep for its orphans, which are summed with the rollups: whoever closes a
day or deletes old rows then reads just what belongs to it.

    table `partitions`  PartitionKey      RowKey                   columns
    of rollups          `rollups|yyyymm`  `subscription`           `subscription`; kept for ever
    of detail rows      `usage|yyyymm`    `yyyymmdd|subscription`  `subscription`, `day`; kept as long as the rows
    of orphans          `orphans`         `yyyymm|subscription`    `subscription`, `month`; kept as long as it is known
                                                                   whose calls were decided
"""

from collections import OrderedDict, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import batched
from typing import Final

from chargeback.keys import key
from seams.tables import MAX_OPERATIONS, Entity, Tables, Upsert

PARTITIONS: Final = "partitions"
_ORPHANS: Final = "orphans"
_MAX_NOTED: Final = 16_384
_DAY: Final = timedelta(days=1)

type SubscriptionDay = tuple[str, date]
type SubscriptionMonth = tuple[str, str]
"""The month is written yyyy-mm."""


@dataclass(frozen=True, slots=True)
class DetailDay:
    """A day of a subscription that has, or had, detail rows; `entity` says so in the index."""

    subscription: str
    day: date
    entity: Entity


@dataclass(frozen=True, slots=True)
class OrphanMonth:
    """A month, yyyy-mm, of a subscription in which calls were decided; `entity` says so in the index."""

    subscription: str
    month: str
    entity: Entity


class PartitionIndex:
    """One object a process; it remembers what it has noted, so that each partition costs a process one write."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._noted: OrderedDict[SubscriptionDay | SubscriptionMonth, None] = OrderedDict()

    async def note(self, used: Iterable[SubscriptionDay], today: date) -> None:
        """Note the partitions of rollups and detail rows of these subscriptions' days. Raises TableUnavailable."""
        # Old days are noted each time: their detail rows, and the note of them, may have been deleted since.
        new = [pair for pair in used if pair not in self._noted or pair[1] < today - _DAY]
        await self._write([row for pair in new for row in (_rollups_row(*pair), _details_row(*pair))])
        self._remember(new)

    async def note_orphans(self, used: Iterable[SubscriptionMonth]) -> None:
        """Note the partitions of orphans of these subscriptions' months. Raises TableUnavailable."""
        # Nothing is written into a month any more by the time that the note of it is deleted.
        new = [pair for pair in used if pair not in self._noted]
        await self._write([_orphans_row(*pair) for pair in new])
        self._remember(new)

    async def subscriptions(self, period: str) -> list[str]:
        """Return the subscriptions that have rollups in a month, yyyy-mm. Raises TableUnavailable."""
        table = await self._tables.table(PARTITIONS)
        rows = table.query(key("rollups", period.replace("-", "")))
        return [str(row.values["subscription"]) async for row in rows]

    async def detail_days(self, first: date, end: date) -> list[DetailDay]:
        """Return the subscriptions' days with detail rows, first <= day < end, both of one month, in order."""
        table = await self._tables.table(PARTITIONS)
        rows = table.query(key("usage", f"{first:%Y%m}"), f"{first:%Y%m%d}", f"{end:%Y%m%d}", in_order=True)
        return [
            DetailDay(str(row.values["subscription"]), date.fromisoformat(str(row.values["day"])), row)
            async for row in rows
        ]

    async def orphan_months(self, end: date) -> list[OrphanMonth]:
        """Return the subscriptions' months before that of `end` in which calls were decided."""
        table = await self._tables.table(PARTITIONS)
        return [
            OrphanMonth(str(row.values["subscription"]), str(row.values["month"]), row)
            async for row in table.query(_ORPHANS, end=f"{end:%Y%m}")
        ]

    async def _write(self, rows: Iterable[Entity]) -> None:
        partitions: defaultdict[str, dict[str, Entity]] = defaultdict(dict)
        for row in rows:
            partitions[row.partition][row.row] = row
        for own in partitions.values():
            table = await self._tables.table(PARTITIONS)
            for chunk in batched(own.values(), MAX_OPERATIONS, strict=False):
                await table.transact([Upsert(row) for row in chunk])

    def _remember(self, noted: Iterable[SubscriptionDay | SubscriptionMonth]) -> None:
        self._noted.update(dict.fromkeys(noted))
        while len(self._noted) > _MAX_NOTED:
            self._noted.popitem(last=False)


def _rollups_row(subscription: str, day: date) -> Entity:
    return Entity(key("rollups", f"{day:%Y%m}"), key(subscription), {"subscription": subscription})


def _details_row(subscription: str, day: date) -> Entity:
    columns = {"subscription": subscription, "day": day.isoformat()}
    return Entity(key("usage", f"{day:%Y%m}"), key(f"{day:%Y%m%d}", subscription), columns)


def _orphans_row(subscription: str, month: str) -> Entity:
    columns = {"subscription": subscription, "month": month}
    return Entity(_ORPHANS, key(month.replace("-", ""), subscription), columns)
