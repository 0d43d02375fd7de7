"""Jobs that cannot be done, in the table `jobdeadletters`, for a person to look at.

PartitionKey is the day, `yyyymmdd`; RowKey the job's `subscription|id`, or for what never became a job its place in the
stream, so that a redelivery writes the same row again. A subscription's key that stands in an event is never kept.
"""

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from enrichment.jobs.chunks import columns_of
from enrichment.jobs.job import Job
from seams.events import ReceivedEvent
from seams.tables import Entity, Tables, Upsert, Value

TABLE: Final = "jobdeadletters"

LONGEST_BODY: Final = 512 * 1024
"""Bytes of an event that are kept."""

_KEY: Final = re.compile(rb'("key"\s*:\s*)"(?:[^"\\]|\\.)*"?', re.DOTALL)
_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e\xa0-\ud7ff\ue000-\ufffd]")


class JobDeadLetters:
    """Everything raises TableUnavailable."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def add_event(self, event: ReceivedEvent, reason: str) -> None:
        """Keep an event that is no job. A body that is not UTF-8 is kept by its size and SHA-256 alone."""
        digest = hashlib.sha256(event.body).hexdigest()
        columns: dict[str, Value] = {
            "partition": event.partition,
            "sequence_number": event.sequence_number,
            "size": len(event.body),
            "sha256": digest,
        }
        # As it came, for whoever looks at it with the tools of the store.
        columns |= columns_of(_without_key(event.body)[:LONGEST_BODY])
        # The digest tells events of a hub that was made anew, whose numbers start again.
        place = f"{event.partition}|{event.sequence_number:020}|{digest[:16]}"
        await self._add(event.enqueued_at, place, reason, columns)

    async def add_job(self, job: Job, reason: str, now: datetime) -> None:
        """Keep the name of a job that was given up; its row has the rest for as long as jobs are kept."""
        columns: dict[str, Value] = {
            "subscription": job.name.subscription,
            "id": job.name.id,
            "attempts": job.attempts,
        }
        await self._add(now, job.name.key(), reason, columns)

    async def _add(self, at: datetime, row: str, reason: str, columns: Mapping[str, Value]) -> None:
        table = await self._tables.table(TABLE)
        told: dict[str, Value] = {"reason": _UNPRINTABLE.sub("?", reason)[:1000], "at": at}
        await table.transact([Upsert(Entity(f"{at:%Y%m%d}", row, {**columns, **told}))])


def _without_key(body: bytes) -> bytes:
    try:
        body.decode()
    except UnicodeDecodeError:
        return b""
    return _KEY.sub(rb'\1"..."', body)
