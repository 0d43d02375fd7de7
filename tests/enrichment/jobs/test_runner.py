"""Jobs as they run: claimed once, leased, tried again, given up, taken over."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import httpx2
import openai
import pytest

from enrichment.errors import EnrichmentError, GatewayRefused, GatewayTimeout
from enrichment.jobs.job import Failure, JobName
from enrichment.jobs.made import Made, Waiting
from enrichment.jobs.runner import JobRules
from enrichment.jobs.work import WorkFailed, WorkRefused
from seams.tables import TableUnavailable
from tests.enrichment.jobs.parts import NOISE, RESULT, Parts, half, made, order

NAME = JobName("team-a", "one")


async def test_a_job_succeeds_once(parts: Parts) -> None:
    """A job runs, its result is kept, and running it again does nothing."""
    await parts.desk.submit(order())
    for _ in range(2):
        await parts.runner.run(NAME)
    assert parts.work.done == [NAME]
    told = await parts.desk.show(NAME)
    assert told == {"id": "one", "status": "succeeded", "result": RESULT}


async def test_rivals(parts: Parts) -> None:
    """Of many that want the same job at once, one does its work."""
    await parts.desk.submit(order())
    await asyncio.gather(*(parts.runner.run(NAME) for _ in range(8)))
    assert parts.work.done == [NAME]


async def test_a_passing_failure(parts: Parts) -> None:
    """A failure that may pass is tried again after ever longer pauses, and ends as a dead letter."""

    async def fail(*_: object) -> Made:
        raise GatewayTimeout("too slow")

    parts.work.do = fail
    await parts.desk.submit(order())
    for tries, pause in enumerate((10, 40, 160), 1):
        await parts.runner.run(NAME)
        await parts.runner.run(NAME)  # too early: nothing happens
        assert len(parts.work.done) == tries
        assert (await parts.job(NAME)).status == "queued"
        parts.clock.pass_by(seconds=pause)
    await parts.runner.run(NAME)
    assert await parts.desk.show(NAME) == {
        "id": "one",
        "status": "failed",
        "error": {"code": "gateway_timeout", "message": "too slow"},
    }
    [dead] = await parts.dead_letters()
    assert dead.values["reason"] == "gateway_timeout: too slow"


@pytest.mark.parametrize("failure", [WorkRefused("subscription_unknown", "gone"), EnrichmentError("no")])
async def test_a_lasting_failure(parts: Parts, failure: Exception) -> None:
    """What no other try would mend fails at once, but a defect is tried again."""

    async def fail(*_: object) -> Made:
        raise failure

    parts.work.do = fail
    await parts.desk.submit(order())
    await parts.runner.run(NAME)
    status = (await parts.job(NAME)).status
    assert status == ("failed" if isinstance(failure, WorkRefused) else "queued")


async def test_throttled_tasks_wait_for_their_turn(parts: Parts) -> None:
    """What is done of a job stays in its row while the rest waits, as long as each try does more; then 4 are left."""
    halves = [half("rate_limit_exceeded")] * 6
    later = Failure("rate_limit_exceeded", "slow down")

    async def partly(*_: object) -> Made:
        further = len(parts.work.done) < 3
        return Made(halves[len(parts.work.done) - 1], lasting=True, waiting=Waiting(later, 30, further=further))

    parts.work.do = partly
    await parts.desk.submit(order())
    for tries in (0, 0, 1, 2, 3):
        await parts.runner.run(NAME)
        job = await parts.job(NAME)
        assert (job.status, job.attempts, job.failure) == ("queued", tries, later)
        assert job.not_before == parts.clock.now() + timedelta(seconds=45)
        parts.clock.pass_by(seconds=46)
    await parts.runner.run(NAME)
    assert (await parts.job(NAME)).status == "succeeded"
    assert await parts.store.result(NAME) == halves[-1]
    assert parts.work.resumed == [None, *halves[:-1]]


async def test_a_throttled_job_waits_for_its_turn(parts: Parts) -> None:
    """Being throttled is no try: the job waits, for a day at most."""
    refused = httpx2.Response(429, headers={"retry-after": "20"}, request=httpx2.Request("POST", "http://gateway"))
    throttled = GatewayRefused(openai.RateLimitError("slow down", response=refused, body=None))

    async def fail(*_: object) -> Made:
        raise throttled

    parts.work.do = fail
    await parts.desk.submit(order())
    for _ in range(10):
        await parts.runner.run(NAME)
        job = await parts.job(NAME)
        assert (job.status, job.attempts) == ("queued", 0)
        assert job.not_before == parts.clock.now() + timedelta(seconds=30)
        parts.clock.pass_by(seconds=30)
    parts.clock.pass_by(hours=24)
    for _ in range(4):
        await parts.runner.run(NAME)
        parts.clock.pass_by(hours=1)
    assert (await parts.job(NAME)).status == "failed"


async def test_retry_after_is_kept(parts: Parts) -> None:
    """Where the gateway says when to come back, the next try is not before that."""

    async def fail(*_: object) -> Made:
        raise WorkFailed("rate_limit_exceeded", "later", wait_seconds=120)

    parts.work.do = fail
    await parts.desk.submit(order())
    await parts.runner.run(NAME)
    parts.clock.pass_by(seconds=119)
    assert not (await parts.job(NAME)).ready(parts.clock.now())
    parts.clock.pass_by(seconds=1)
    assert (await parts.job(NAME)).ready(parts.clock.now())


async def test_a_dead_holder(parts: Parts) -> None:
    """A lease keeps others away until it has run out; then one of them takes the job over."""
    await parts.desk.submit(order())
    job = await parts.job(NAME)
    await parts.store.change(job.claimed("dead", parts.clock.now(), parts.rules.lease))
    await parts.runner.run(NAME)
    assert not parts.work.done
    parts.clock.pass_by(seconds=60)
    await parts.runner.run(NAME)
    assert (await parts.job(NAME)).status == "succeeded"
    assert (await parts.job(NAME)).attempts == 2


async def test_a_job_that_kills(parts: Parts) -> None:
    """A job whose process died each time is given up, with a dead letter."""
    await parts.desk.submit(order())
    job = await parts.job(NAME)
    await parts.store.change(replace(job.claimed("dead", parts.clock.now(), parts.rules.lease), attempts=4))
    parts.clock.pass_by(seconds=60)
    await parts.runner.run(NAME)
    assert not parts.work.done
    told = await parts.desk.show(NAME)
    assert told is not None
    assert told["error"]["code"] == "attempts_exhausted"
    assert len(await parts.dead_letters()) == 1


async def test_a_lease_that_was_lost(parts: Parts) -> None:
    """Whoever finds his job taken over drops his work, and the other's outcome stays."""
    quick = JobRules().lease / 600
    parts.runner.rules = replace(parts.rules, lease=quick)
    began = asyncio.Event()

    async def slow(*_: object) -> Made:
        began.set()
        await asyncio.Event().wait()
        raise AssertionError

    parts.work.do = slow
    await parts.desk.submit(order())
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(parts.runner.run(NAME))
        await began.wait()
        while True:
            job = await parts.job(NAME)
            try:
                await parts.store.change(replace(job, owner="thief"))
            except Exception:  # noqa: BLE001, S112 - the lease was renewed in between
                continue
            break
    assert (await parts.job(NAME)).owner == "thief"


async def test_a_lease_is_kept(parts: Parts) -> None:
    """Work that takes longer than the lease keeps its job, also where somebody else changes the row meanwhile."""
    parts.runner.rules = replace(parts.rules, lease=parts.rules.lease / 600)
    began = asyncio.Event()
    renewed = asyncio.Event()

    async def slow(*_: object) -> Made:
        began.set()
        await renewed.wait()
        return made()

    async def touched() -> None:
        job = await parts.job(NAME)
        until = job.lease_until
        await parts.store.change(replace(job, promised=True, callback=job.callback))
        while (await parts.job(NAME)).lease_until == until:
            parts.clock.pass_by(milliseconds=1)
            await asyncio.sleep(0.005)
        renewed.set()

    parts.work.do = slow
    await parts.desk.submit(order())
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(parts.runner.run(NAME))
        await began.wait()
        tasks.create_task(touched())
    assert (await parts.job(NAME)).status == "succeeded"


async def test_storage_that_fails(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the tables fail the failure is raised, and the job is taken over when its lease has run out."""

    async def gone(*_: object) -> None:
        raise TableUnavailable("down")

    await parts.desk.submit(order())
    with monkeypatch.context() as patched:
        patched.setattr(parts.store, "finish", gone)
        with pytest.raises(TableUnavailable):
            await parts.runner.run(NAME)
    parts.clock.pass_by(seconds=60)
    await parts.runner.run(NAME)
    assert (await parts.job(NAME)).status == "succeeded"


async def test_a_result_that_is_too_large(parts: Parts) -> None:
    """A result that does not fit into a row fails the job and says so."""

    async def verbose(*_: object) -> Made:
        return made(NOISE)

    parts.work.do = verbose
    await parts.desk.submit(order())
    await parts.runner.run(NAME)
    told = await parts.desk.show(NAME)
    assert told is not None
    assert told["error"]["code"] == "result_too_large"
