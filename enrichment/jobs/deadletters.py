"""Jobs that cannot be done, in the table `jobdeadletters`, for a person to look at.

PartitionKey is the day, `yyyymmdd`; RowKey the job's `subscription|id`, or for what never became a job its place in the
stream, so that a redelivery writes the same row again. A subscription's key that stands in an event is never kept.
"""

import contextlib
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Final

from enrichment.jobs.chunks import bytes_of, columns_of
from enrichment.jobs.job import Job, JobName
from enrichment.jobs.observer import NO_OBSERVER, JobObserver
from seams.events import ReceivedEvent
from seams.tables import Entity, Replace, TableConflict, Tables, Upsert, Value

TABLE: Final = "jobdeadletters"

LONGEST_BODY: Final = 512 * 1024
"""Bytes of an event that are kept."""

_ID: Final = re.compile(r"\d{8}(?:,[A-Za-z0-9._:-]+){2,3}", re.ASCII)
_DESCRIBED: Final = (
    "reason", "at", "subscription", "id", "attempts", "partition", "sequence_number", "size", "requeued_at",
    "requeued_by",
)  # fmt: skip
_KEY: Final = re.compile(rb'("key"\s*:\s*)"(?:[^"\\]|\\.)*"?', re.DOTALL)
_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e\xa0-\ud7ff\ue000-\ufffd]")


@dataclass(frozen=True, slots=True)
class JobDeadLetter:
    """Why something was given up: a job, where `job` names it, or an event of `size` bytes.

    `row` is as the table holds it. `requeued_at` and `requeued_by` tell of the last time that it was put back.
    """

    id: str
    reason: str
    at: datetime
    row: Entity
    job: JobName | None = None
    attempts: int | None = None
    partition: str = ""
    sequence_number: int | None = None
    size: int | None = None
    requeued_at: datetime | None = None
    requeued_by: str = ""

    def body(self) -> bytes:
        """Return what was kept of the event, less its key; nothing of a job, and of what is no text."""
        return bytes_of(self.row.values)


class JobDeadLetters:
    """Everything raises TableUnavailable."""

    def __init__(self, tables: Tables, observer: JobObserver = NO_OBSERVER) -> None:
        self._tables = tables
        self._observer = observer

    async def add_event(self, event: ReceivedEvent, reason: str) -> None:
        """Keep an event that is no job. A body that is not UTF-8 is kept by its size and SHA-256 alone."""
        digest = hashlib.sha256(event.body).hexdigest()
        columns: dict[str, Value] = {
            "partition": event.partition,
            "sequence_number": event.sequence_number,
            "size": len(event.body),
            "sha256": digest,
        }
        columns |= columns_of(_without_key(event.body)[:LONGEST_BODY])
        # The digest tells events of a hub that was made anew, whose numbers start again.
        place = f"{event.partition}|{event.sequence_number:020}|{digest[:16]}"
        await self._add(event.enqueued_at, place, reason, columns)
        self._observer.dead_letter_added("event")

    async def add_job(self, job: Job, reason: str, now: datetime) -> None:
        """Keep the name of a job that was given up; its row has the rest for as long as jobs are kept."""
        columns: dict[str, Value] = {
            "subscription": job.name.subscription,
            "id": job.name.id,
            "attempts": job.attempts,
        }
        await self._add(now, job.name.key(), reason, columns)
        self._observer.dead_letter_added("job")

    async def of_day(self, day: date, after: str, limit: int) -> list[JobDeadLetter]:
        """Return a day's whose rows come after this one, without the bodies of events."""
        found: list[JobDeadLetter] = []
        # A space sorts before whatever else may follow in a longer row.
        table = await self._tables.table(TABLE)
        rows = table.query(f"{day:%Y%m%d}", f"{after} ", columns=_DESCRIBED, in_order=True)
        async for row in rows:
            if len(found) == limit:
                break
            found.append(_letter(row))
        return found

    async def get(self, letter: str) -> JobDeadLetter | None:
        """Return the one of this id, with the body of an event; None where there is none."""
        place = place_of(letter)
        found = await (await self._tables.table(TABLE)).get(*place) if place else None
        return None if found is None else _letter(found)

    async def note_requeue(self, letter: JobDeadLetter, by: str, now: datetime) -> JobDeadLetter:
        """Write down that it was put back. One that was written anew meanwhile has not been."""
        noted = replace(letter.row, values={**letter.row.values, "requeued_at": now, "requeued_by": by})
        with contextlib.suppress(TableConflict):
            await (await self._tables.table(TABLE)).transact([Replace(noted)])
        return _letter(noted)

    async def _add(self, at: datetime, row: str, reason: str, columns: Mapping[str, Value]) -> None:
        table = await self._tables.table(TABLE)
        told: dict[str, Value] = {"reason": _UNPRINTABLE.sub("?", reason)[:1000], "at": at}
        await table.transact([Upsert(Entity(f"{at:%Y%m%d}", row, {**columns, **told}))])


def place_of(letter: str) -> tuple[str, str] | None:
    """Return the PartitionKey and RowKey of the dead letter of this id; None for what no dead letter is called."""
    if not _ID.fullmatch(letter):
        return None
    day, _, row = letter.partition(",")
    return day, row.replace(",", "|")


def _letter(row: Entity) -> JobDeadLetter:
    # Written by the class above; what a person mangled fails here, loudly.
    told: dict[str, Any] = {name: value for name, value in row.values.items() if name in _DESCRIBED}
    job = JobName(told.pop("subscription"), told.pop("id")) if "id" in told else None
    return JobDeadLetter(id=f"{row.partition},{row.row.replace('|', ',')}", row=row, job=job, **told)


def _without_key(body: bytes) -> bytes:
    try:
        body.decode()
    except UnicodeDecodeError:
        return b""
    return _KEY.sub(rb'\1"..."', body)
