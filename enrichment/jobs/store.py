"""Jobs in the table `jobs`: one partition each, PartitionKey `subscription|id`.

Its rows are `job` (what changes), `request` and `result` (JSON, in chunks), and come in this order. Request and job are
written together, and so are result and outcome: a reader never finds the one without the other.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from enrichment.jobs import chunks
from enrichment.jobs.job import Delivery, Failure, Job, JobName
from seams.tables import Delete, Entity, Insert, Operation, Replace, Table, Tables, Upsert, Value

TABLE: Final = "jobs"

_JOB: Final = "job"
_REQUEST: Final = "request"
_RESULT: Final = "result"


@dataclass(frozen=True, slots=True)
class Opened:
    """A job, its request and its result; a result of one that is to be run is an earlier try's."""

    job: Job
    request: bytes
    result: bytes | None = None


class JobStore:
    """Everything raises TableUnavailable; what changes a row raises TableConflict where another came first."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def create(self, job: Job, request: bytes) -> Job:
        """Add a job. Raises TableConflict where its name is taken, and chunks.TooLarge."""
        body = Entity(job.name.key(), _REQUEST, chunks.split(request))
        # The request as an upsert: what a removal that was cut short left behind is nobody's.
        etags = await (await self._table()).transact([Insert(_entity(job)), Upsert(body)])
        return _with_etag(job, etags[0])

    async def get(self, name: JobName) -> Job | None:
        found = await (await self._table()).get(name.key(), _JOB)
        return None if found is None else _job(found)

    async def opened(self, name: JobName) -> Opened | None:
        """Return a job with all that is kept of it, in one question to the store; None where there is none."""
        rows = {entity.row: entity async for entity in (await self._table()).query(name.key(), first=_JOB)}
        if _JOB not in rows:
            return None
        result = chunks.join(rows[_RESULT].values) if _RESULT in rows else None
        return Opened(_job(rows[_JOB]), chunks.join(rows[_REQUEST].values), result)

    async def result(self, name: JobName) -> bytes | None:
        """Return the result of a job that succeeded; None where the job was removed meanwhile."""
        found = await (await self._table()).get(name.key(), _RESULT)
        return None if found is None else chunks.join(found.values)

    async def change(self, job: Job) -> Job:
        """Put the job in place of the one that was read, whose ETag it has."""
        [etag] = await (await self._table()).transact([Replace(_entity(job))])
        return _with_etag(job, etag)

    async def finish(self, job: Job, result: bytes) -> Job:
        """Put outcome and result in place of a job that ran. Raises chunks.TooLarge."""
        body = Entity(job.name.key(), _RESULT, chunks.split(result))
        etags = await (await self._table()).transact([Replace(_entity(job)), Upsert(body)])
        return _with_etag(job, etags[0])

    async def remove(self, job: Job) -> None:
        """Remove a job as it was read, with all its rows."""
        table = await self._table()
        partition = job.name.key()
        others = [each.row async for each in table.query(partition) if each.row != _JOB]
        deletions: list[Operation] = [Delete(partition, _JOB, job.etag), *(Delete(partition, row) for row in others)]
        await table.transact(deletions)

    async def _table(self) -> Table:
        return await self._tables.table(TABLE)


def _entity(job: Job) -> Entity:
    delivery, failure = job.delivery, job.failure or Failure("", "")
    columns: dict[str, Value | None] = {
        "subscription": job.name.subscription,
        "id": job.name.id,
        "digest": job.digest,
        "created_at": job.created_at,
        "status": job.status,
        "promised": job.promised,
        "attempts": job.attempts,
        "owner": job.owner,
        "lease_until": job.lease_until,
        "not_before": job.not_before,
        "finished_at": job.finished_at,
        "error_code": failure.code,
        "error": failure.message,
        "callback": job.callback,
        "callback_status": delivery.status,
        "callback_attempts": delivery.attempts,
        "callback_due": delivery.due,
        "callback_error": delivery.error,
    }
    kept = {name: value for name, value in columns.items() if value is not None}
    return Entity(job.name.key(), _JOB, kept, job.etag)


def _job(entity: Entity) -> Job:
    # What the store holds was written by `_entity`; a row that a person mangled fails here, loudly.
    row: dict[str, Any] = dict(entity.values)
    return Job(
        name=JobName(row["subscription"], row["id"]),
        digest=row["digest"],
        created_at=row["created_at"],
        status=row["status"],
        promised=row["promised"],
        attempts=row["attempts"],
        owner=row["owner"],
        lease_until=_time(row, "lease_until"),
        not_before=_time(row, "not_before"),
        finished_at=_time(row, "finished_at"),
        failure=Failure(row["error_code"], row["error"]) if row["error_code"] else None,
        callback=row["callback"],
        delivery=Delivery(
            row["callback_status"], row["callback_attempts"], _time(row, "callback_due"), row["callback_error"]
        ),
        etag=entity.etag,
    )


def _time(row: dict[str, Any], name: str) -> datetime | None:
    found: datetime | None = row.get(name)
    return found


def _with_etag(job: Job, etag: str | None) -> Job:
    return replace(job, etag=etag)
