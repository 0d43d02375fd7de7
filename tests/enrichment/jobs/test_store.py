"""Rows of jobs and reminders, on every kind of table that there is."""

import os
import zlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from enrichment.jobs import chunks
from enrichment.jobs.deadletters import JobDeadLetters
from enrichment.jobs.job import Delivery, Failure, Job, JobName
from enrichment.jobs.reminders import PARTITIONS, Reminders
from enrichment.jobs.store import JobStore, Opened
from seams.tables import TableConflict, Tables

NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)


@pytest.fixture
def tables(rival_tables: Callable[[], Tables]) -> Tables:
    return rival_tables()


@pytest.fixture
def name() -> JobName:
    return JobName("team-a", os.urandom(8).hex())


async def test_a_life(tables: Tables, name: JobName) -> None:
    """A job is kept with everything that it holds, changed under its ETag alone, and removed with all its rows."""
    store = JobStore(tables)
    made = await store.create(Job(name, "digest", NOW, callback="{}"), b"request")
    with pytest.raises(TableConflict):
        await store.create(Job(name, "digest", NOW), b"another")
    claimed = await store.change(made.claimed("owner", NOW, timedelta(seconds=60)))
    with pytest.raises(TableConflict):
        await store.change(made.claimed("rival", NOW, timedelta(seconds=60)))
    waiting = await store.change(claimed.requeued(NOW + timedelta(minutes=1), Failure("code", "message")))
    assert await store.get(name) == waiting
    ended = waiting.ended(NOW, None)
    finished = await store.finish(replace(ended, delivery=Delivery("pending", 2, NOW, "error")), b"result")
    assert await store.get(name) == finished
    assert await store.opened(name) == Opened(finished, b"request", b"result")
    assert await store.result(name) == b"result"
    with pytest.raises(TableConflict):
        await store.remove(waiting)
    await store.remove(finished)
    assert await store.get(name) is None
    assert await store.opened(name) is None
    again = await store.create(Job(name, "digest", NOW), b"again")
    assert await store.opened(name) == Opened(again, b"again")


async def test_the_largest(tables: Tables, name: JobName) -> None:
    """Request and result may take 655,360 bytes each, compressed, which come back as they were; one more is refused."""
    store = JobStore(tables)
    body = os.urandom(chunks.MAX_BYTES - 1000)  # what does not shrink grows a little
    job = await store.create(Job(name, "digest", NOW), body)
    await store.finish(job, body)
    opened = await store.opened(name)
    assert opened is not None
    assert (opened.request, opened.result) == (body, body)
    assert await store.result(name) == body
    with pytest.raises(chunks.TooLarge, match="compressed, and at most 655360"):
        await store.create(Job(JobName("team-b", name.id), "digest", NOW), body + os.urandom(2000))


async def test_reminders(tables: Tables, name: JobName) -> None:
    """Those that are due come, the oldest first; one that is moved comes later, one that is dropped not at all."""
    reminders = Reminders(tables)

    async def due(at: datetime) -> list[datetime]:
        found = [each for number in range(PARTITIONS) async for each in reminders.due(number, at)]
        return [each.due for each in found if each.name == name]

    later = await reminders.set(name, NOW + timedelta(seconds=1.5))
    first = await reminders.set(name, NOW)
    assert await due(NOW - timedelta(seconds=1)) == []
    assert await due(NOW) == [NOW]
    assert await due(NOW + timedelta(seconds=2)) == [NOW, NOW + timedelta(seconds=2)]
    moved = await reminders.move(first, NOW + timedelta(minutes=1))
    assert await reminders.move(first, NOW + timedelta(minutes=1)) == moved
    assert await due(NOW + timedelta(seconds=2)) == [later.due]
    for reminder in (later, later, moved):
        await reminders.drop(reminder)
    assert await due(NOW + timedelta(days=1)) == []


async def test_pages(tables: Tables, name: JobName) -> None:
    """A page goes on after the last row of the one before, also where that begins the next one's name."""
    reminders, dead = Reminders(tables), JobDeadLetters(tables)
    day = NOW + timedelta(days=365_000 + zlib.crc32(name.id.encode()) % 100_000)  # another one in each run
    names = [JobName(name.subscription, f"{name.id}{end}") for end in ("", "-1", "0")]
    for each in names:
        await reminders.set(each, day)
        await dead.add_job(Job(each, "digest", NOW), "reason", day)
    seen: list[JobName] = []
    after = f"{day:%Y%m%dT%H%M%S}"
    for _ in names:
        [found] = await reminders.page(1, after)
        seen.append(found.name)
        after = found.row()
    assert seen == names
    letters = await dead.of_day(day, "", 2)
    letters += await dead.of_day(day, letters[-1].row.row, 2)
    assert [each.job for each in letters] == names
    assert await dead.get(letters[0].id) is not None
