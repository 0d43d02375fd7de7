"""When to look at a job again, in the table `jobreminders`: what survives the death of whoever was at work on it.

RowKey is `yyyymmddThhmmss|subscription|id`, so that those that are due come first and nothing else is read; a job's
reminders are all in one of a few partitions, so that one is moved in a single transaction. A reminder is a hint: the
job's row says what is to be done. There may be more than one, and one may be late; a job that is not done always has
one, because it is written before the job's row and moved before it is dropped.
"""

import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from enrichment.jobs.endings import all_of
from enrichment.jobs.job import JobName
from seams.tables import Delete, Entity, Table, TableConflict, Tables, Upsert

TABLE: Final = "jobreminders"
PARTITIONS: Final = 8

_FORMAT: Final = "%Y%m%dT%H%M%S"


@dataclass(frozen=True, slots=True)
class Reminder:
    """`due` in whole seconds, aware, in UTC."""

    due: datetime
    name: JobName

    def partition(self) -> str:
        return str(zlib.crc32(self.name.key().encode()) % PARTITIONS)

    def row(self) -> str:
        return f"{self.due:{_FORMAT}}|{self.name.key()}"


class Reminders:
    """Everything raises TableUnavailable."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def set(self, name: JobName, due: datetime) -> Reminder:
        reminder = _rounded(name, due)
        await (await self._table()).transact([_upsert(reminder)])
        return reminder

    async def move(self, reminder: Reminder, due: datetime) -> Reminder:
        """Set another reminder of the same job in place of this one, whether that is still there or not."""
        later = _rounded(reminder.name, due)
        if later == reminder:
            return reminder
        table = await self._table()
        try:
            await table.transact([_upsert(later), Delete(reminder.partition(), reminder.row())])
        except TableConflict:
            await table.transact([_upsert(later)])
        return later

    async def drop(self, reminder: Reminder) -> None:
        try:
            await (await self._table()).transact([Delete(reminder.partition(), reminder.row())])
        except TableConflict:
            return

    async def due(self, partition: int, now: datetime) -> AsyncIterator[Reminder]:
        """Yield the reminders of one partition that are due, the oldest first."""
        table = await self._table()
        async for entity in table.query(str(partition), end=f"{now:{_FORMAT}}~", in_order=True):
            yield _reminder(entity)

    async def page(self, limit: int, after: str) -> list[Reminder]:
        """Return reminders of all partitions, the first due first, whose rows come after this one."""
        found = await all_of([self._following(str(partition), limit, after) for partition in range(PARTITIONS)])
        return sorted((each for part in found for each in part), key=Reminder.row)[:limit]

    async def _following(self, partition: str, limit: int, after: str) -> list[Reminder]:
        following: list[Reminder] = []
        # A space sorts before whatever else may follow in a longer row.
        async for entity in (await self._table()).query(partition, f"{after} ", in_order=True):
            if len(following) == limit:
                break
            following.append(_reminder(entity))
        return following

    async def _table(self) -> Table:
        return await self._tables.table(TABLE)


def _rounded(name: JobName, due: datetime) -> Reminder:
    # Up, never down: one that is early finds nothing to do yet.
    whole = due.astimezone(UTC).replace(microsecond=0)
    return Reminder(whole if whole == due else whole + timedelta(seconds=1), name)


def _reminder(entity: Entity) -> Reminder:
    due = datetime.strptime(entity.row.partition("|")[0], _FORMAT).replace(tzinfo=UTC)
    return Reminder(due, JobName(str(entity.values["subscription"]), str(entity.values["id"])))


def _upsert(reminder: Reminder) -> Upsert:
    columns = {"subscription": reminder.name.subscription, "id": reminder.name.id}
    return Upsert(Entity(reminder.partition(), reminder.row(), columns))
