"""What the sweep does for jobs that nobody is at."""

import asyncio
from datetime import timedelta

import pytest

from enrichment.jobs.job import JobName
from enrichment.jobs.outbound import Answer
from enrichment.jobs.reminders import PARTITIONS, Reminder
from seams.tables import Entity, TableUnavailable, Upsert
from tests.enrichment.jobs.parts import CALLBACK, Parts, made, order

NAME = JobName("team-a", "one")


async def reminders(parts: Parts, within: timedelta = timedelta(days=30)) -> list[Reminder]:
    until = parts.clock.now() + within
    return [each for number in range(PARTITIONS) async for each in parts.reminders.due(number, until)]


async def test_a_job_that_the_hub_lost(parts: Parts) -> None:
    """A job that the hub did not take, or lost, is handed over again, ever more seldom."""
    parts.hub.down = True
    await parts.desk.submit(order())
    parts.hub.down = False
    assert await parts.sweep.run() == 0
    gaps = []
    for _ in range(4):
        before = parts.clock.now()
        while not await parts.sweep.run():
            parts.clock.pass_by(seconds=10)
        gaps.append((parts.clock.now() - before).total_seconds())
    assert parts.hub.names() == ["one"] * 4
    assert gaps == [60, 60, 120, 240]


async def test_a_running_job_is_left_alone(parts: Parts) -> None:
    """A job whose lease is valid is looked at again when that has run out."""
    await parts.desk.submit(order())
    parts.clock.pass_by(seconds=50)
    await parts.store.change((await parts.job(NAME)).claimed("somebody", parts.clock.now(), parts.rules.lease))
    parts.clock.pass_by(seconds=10)
    await parts.sweep.run()
    assert parts.hub.names() == ["one"]
    parts.clock.pass_by(seconds=50)
    await parts.sweep.run()
    assert parts.hub.names() == ["one", "one"]


async def test_a_pending_callback(parts: Parts) -> None:
    """A callback that failed is tried again when it is due, until it is delivered."""
    parts.network.answers = [Answer(503, {}, b""), Answer(503, {}, b"")]
    await parts.desk.submit(order(callback=CALLBACK))
    await parts.runner.run(NAME)
    for _ in range(200):
        parts.clock.pass_by(seconds=1)
        await parts.sweep.run()
    assert len(parts.network.requests) == 3
    assert (await parts.job(NAME)).delivery.status == "delivered"


async def test_a_callback_whose_process_died(parts: Parts) -> None:
    """A job that ended while its process died before the callback has it delivered by the sweep."""
    await parts.desk.submit(order(callback=CALLBACK))
    job = (await parts.job(NAME)).claimed("dead", parts.clock.now(), parts.rules.lease)
    job = await parts.store.change(job)
    await parts.store.finish(job.ended(parts.clock.now(), None), made().result)
    parts.clock.pass_by(seconds=61)
    await asyncio.gather(*(parts.sweep.run() for _ in range(4)))
    assert len(parts.network.requests) == 1
    assert (await parts.job(NAME)).delivery.status == "delivered"


async def test_finished_jobs_go(parts: Parts) -> None:
    """A finished job is kept for its time, then its rows and reminders go."""
    await parts.desk.submit(order())
    await parts.runner.run(NAME)
    for _ in range(2):
        parts.clock.pass_by(minutes=2)
        await parts.sweep.run()
    parts.clock.pass_by(days=6, hours=23)
    await parts.sweep.run()
    assert await parts.desk.show(NAME) is not None
    assert len(await reminders(parts)) == 1
    parts.clock.pass_by(hours=1)
    await parts.sweep.run()
    assert await parts.desk.show(NAME) is None
    assert [row async for row in (await parts.tables.table("jobs")).query()] == []
    assert await reminders(parts) == []


async def test_what_nobody_waits_for_goes(parts: Parts) -> None:
    """An answer whose process died before it was promised to anybody is forgotten; a reminder without a job, too."""
    await parts.desk.create(parts.once._held(order(), promised=False), order().request)
    await parts.reminders.set(JobName("team-a", "never-written"), parts.clock.now())
    parts.clock.pass_by(minutes=3)
    await parts.sweep.run()
    assert await parts.store.get(NAME) is None
    assert await reminders(parts) == []


async def test_a_mangled_row(parts: Parts) -> None:
    """A job whose row cannot be read is looked at once an hour, and keeps the sweep from nothing."""
    table = await parts.tables.table("jobs")
    await table.transact([Upsert(Entity("team-a|bad", "job", {"subscription": "team-a"}))])
    await parts.reminders.set(JobName("team-a", "bad"), parts.clock.now())
    await parts.desk.keep(order())
    parts.clock.pass_by(seconds=61)
    await parts.sweep.run()
    assert parts.hub.names() == ["one"]
    assert [each.name.id for each in await reminders(parts, timedelta(minutes=59))] == ["one"]


async def test_silent_tables(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the tables do not answer the sweep fails, and the next one does what it left."""

    async def silent(*_: object) -> None:
        raise TableUnavailable("silent")

    await parts.desk.keep(order())
    parts.clock.pass_by(seconds=61)
    with monkeypatch.context() as patched:
        patched.setattr(parts.store, "get", silent)
        with pytest.raises(TableUnavailable):
            await parts.sweep.run()
    await parts.sweep.run()
    assert parts.hub.names() == ["one"]


async def test_many(parts: Parts) -> None:
    """Any number of sweeps at once attend to each of many jobs."""
    for number in range(60):
        await parts.desk.keep(order(f"job-{number}"))
    parts.clock.pass_by(seconds=61)
    await asyncio.gather(*(parts.sweep.run() for _ in range(3)))
    assert set(parts.hub.names()) == {f"job-{number}" for number in range(60)}
    assert len(await reminders(parts)) >= 60
