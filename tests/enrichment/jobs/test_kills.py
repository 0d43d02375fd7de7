"""A process that dies at any of its questions to the tables, before or after they were heard."""

from collections.abc import Awaitable, Callable

import pytest

from enrichment.jobs.job import JobName
from enrichment.jobs.made import Made
from enrichment.jobs.once import Answered
from tests.enrichment.jobs.parts import CALLBACK, Parts, event_of, made, order
from tests.gateway.memory_tables import MemoryTables, Rows

NAME = JobName("team-a", "one")
MOST_CALLS = 40


class Killed(BaseException):
    """No code of a process runs on after it."""


def doomed(rows: Rows, call: int, *, heard: bool) -> Parts:
    """Return a process that dies at this question to the tables; `heard` says that they still did what it asked."""
    tables = MemoryTables(rows)

    async def before() -> None:
        if tables.calls > call or (tables.calls == call and not heard):
            raise Killed

    async def after() -> None:
        if tables.calls == call:
            raise Killed

    tables.before, tables.after = before, after
    return Parts(tables)


async def lives(parts: Parts, life: Callable[[Parts], Awaitable[object]]) -> bool:
    """Let a process live, and tell whether it came to its end."""
    try:
        await life(parts)
    except Killed:
        return False
    return True


async def submitted(parts: Parts) -> None:
    await parts.desk.submit(order(callback=CALLBACK))
    await parts.batches.run(parts.hub.received())


async def sent_by_a_producer(parts: Parts) -> None:
    event = {"id": "one", "subscription": "team-a", "callback": CALLBACK}
    await parts.batches.run([event_of(event | {"ticket": {"short_description": "VPN drops"}, "tasks": ["summary"]})])


async def afterwards(rows: Rows, dead: Parts) -> Parts:
    """Let another process sweep and run for two hours, and return it."""
    parts = Parts(MemoryTables(rows))
    parts.clock.at = dead.clock.at
    for _ in range(240):
        parts.clock.pass_by(seconds=30)
        await parts.sweep.run()
        await parts.batches.run(parts.hub.received())
        parts.hub.bodies.clear()
    return parts


@pytest.mark.parametrize("heard", [False, True])
@pytest.mark.parametrize("life", [submitted, sent_by_a_producer])
async def test_a_job(life: Callable[[Parts], Awaitable[object]], *, heard: bool) -> None:
    """Wherever a process dies, a job that exists ends once, with its result, and its callback is told it."""
    for call in range(1, MOST_CALLS):
        rows: Rows = {}
        first = doomed(rows, call, heard=heard)
        ended = await lives(first, life)
        second = await afterwards(rows, first)
        if life is sent_by_a_producer:
            await life(second)  # the hub delivers again what was not acknowledged
        job = await second.store.get(NAME)
        if job is not None:
            assert (job.status, job.delivery.status) == ("succeeded", "delivered"), (call, job)
            assert await second.store.result(NAME) == made().result
            told = {request.body for parts in (first, second) for request in parts.network.requests}
            assert len(told) == 1
            assert len(first.work.done) + len(second.work.done) <= 2
        else:
            assert call <= 3, "a job was lost"
        if ended:
            return
    pytest.fail("the process never came to its end")


async def asked(parts: Parts) -> None:
    """Ask under a key, and leave the answer where the work of jobs is counted."""

    async def perform(_: object) -> Made:
        return await parts.work.perform(NAME, b"", None)

    answer = await parts.once.answer_keyed(order(), perform, may_promise=True)
    assert isinstance(answer, Answered)
    assert answer.result == made().result


@pytest.mark.parametrize("heard", [False, True])
async def test_an_answer_under_a_key(*, heard: bool) -> None:
    """Wherever a process dies, the same request again is answered; what was answered before is not made again."""
    for call in range(1, MOST_CALLS):
        rows: Rows = {}
        first = doomed(rows, call, heard=heard)
        ended = await lives(first, asked)
        second = Parts(MemoryTables(rows))
        second.clock.pass_by(minutes=2)
        await asked(second)
        if ended:
            assert (first.work.done, second.work.done) == ([NAME], [])
            return
    pytest.fail("the process never came to its end")


@pytest.mark.parametrize("heard", [False, True])
async def test_a_sweep(*, heard: bool) -> None:
    """Wherever a sweep dies, the next one finds what it left: every job is handed over, and none is forgotten."""
    for call in range(1, MOST_CALLS):
        rows: Rows = {}
        first = Parts(MemoryTables(rows))
        for number in range(3):
            await first.desk.keep(order(f"job-{number}"))
        dying = doomed(rows, call, heard=heard)
        dying.clock.pass_by(seconds=61)
        ended = await lives(dying, lambda parts: parts.sweep.run())
        second = await afterwards(rows, dying)
        for number in range(3):
            assert (await second.job(JobName("team-a", f"job-{number}"))).status == "succeeded"
        if ended:
            return
    pytest.fail("the process never came to its end")
