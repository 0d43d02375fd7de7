"""Answers that are given once: repeated, concurrent, late, cut off, failed."""

import asyncio

import pytest

from enrichment.answers.answers import Enrichment
from enrichment.errors import GatewayTimeout
from enrichment.jobs.desk import Kept
from enrichment.jobs.errors import NameTaken, StillRunning
from enrichment.jobs.job import JobName
from enrichment.jobs.made import Made
from enrichment.jobs.once import Answered, Promised
from enrichment.jobs.order import Order
from local.tables import SQLiteTables
from tests.enrichment.jobs.parts import Parts, half, made, order

NAME = JobName("team-a", "one")
PATIENCE_SECONDS = 20


class Slow:
    """Work that ends when it is let; `begun` counts how often it was begun."""

    def __init__(self) -> None:
        self.begun = 0
        self.under_way = asyncio.Event()
        self.let = asyncio.Event()
        self.cancelled = False

    async def __call__(self, _: object) -> Made:
        self.begun += 1
        self.under_way.set()
        try:
            await self.let.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return made()


async def quick(_: object) -> Made:
    return made()


async def never(_: object) -> Made:
    raise AssertionError("it is not to be done again")


async def test_a_repeated_request(parts: Parts) -> None:
    """The same request again is answered with the same bytes, without work."""
    first = await parts.once.answer_keyed(order(), quick, may_promise=True)
    again = await parts.once.answer_keyed(order(), never, may_promise=True)
    assert first == Answered(made().result)
    assert again == Answered(made().result, repeated=True)


async def test_another_body(parts: Parts) -> None:
    """The same key with another body is refused, and the first answer stays."""
    await parts.once.answer_keyed(order(), quick, may_promise=True)
    with pytest.raises(NameTaken):
        await parts.once.answer_keyed(order(tasks=["sentiment"]), never, may_promise=True)
    assert isinstance(await parts.once.answer_keyed(order(), never, may_promise=True), Answered)


async def test_concurrent_requests(parts: Parts) -> None:
    """Of requests that come at once, one works and all are answered alike."""
    parts.once.wait = PATIENCE_SECONDS
    slow = Slow()
    asking = [asyncio.create_task(parts.once.answer_keyed(order(), slow, may_promise=True)) for _ in range(5)]
    await slow.under_way.wait()
    slow.let.set()
    answers = await asyncio.gather(*asking)
    assert slow.begun == 1
    assert sorted(answer.repeated for answer in answers if isinstance(answer, Answered)) == [False, *[True] * 4]


async def test_a_late_answer_becomes_a_job(parts: Parts) -> None:
    """What takes too long is promised as a job, and the same work goes on behind the answer."""
    slow = Slow()
    reply = await parts.once.answer_keyed(order(), slow, may_promise=True)
    assert isinstance(reply, Promised)
    assert reply.rest is not None
    assert (await parts.desk.show(NAME)) == {"id": "one", "status": "running"}
    parts.once.wait = 0
    again = await parts.once.answer_keyed(order(), never, may_promise=True)
    assert again == Promised(NAME)
    slow.let.set()
    await reply.rest()
    assert slow.begun == 1
    assert await parts.once.answer_keyed(order(), never, may_promise=True) == Answered(made().result, repeated=True)


async def test_late_without_a_key(parts: Parts) -> None:
    """Without a key nothing is written until the answer is late; then a job is made in which the work goes on."""
    assert await parts.once.answer(order(), quick) == Answered(made().result)
    assert await parts.store.get(NAME) is None
    slow = Slow()
    reply = await parts.once.answer(order(), slow)
    assert isinstance(reply, Promised)
    assert reply.rest is not None
    slow.let.set()
    await reply.rest()
    assert (await parts.job(NAME)).status == "succeeded"


@pytest.mark.parametrize("keyed", [False, True])
async def test_late_where_nothing_goes_on(tables: SQLiteTables, *, keyed: bool) -> None:
    """Where no work can go on behind an answer, the job is handed to the hub and begun anew there."""
    parts = Parts(tables, goes_on=False)
    slow = Slow()
    asked = parts.once.answer_keyed(order(), slow, may_promise=True) if keyed else parts.once.answer(order(), slow)
    assert await asked == Promised(NAME, "queued")
    assert slow.cancelled
    assert parts.hub.names() == ["one"]
    await parts.runner.run(NAME)
    assert (await parts.job(NAME)).status == "succeeded"


async def test_waiting_for_another_ones_work(parts: Parts) -> None:
    """Who waits for the first one's answer too long is told so, or given the job, as he asked."""
    parts.once.wait = PATIENCE_SECONDS
    slow = Slow()
    first = asyncio.create_task(parts.once.answer_keyed(order(), slow, may_promise=True))
    await slow.under_way.wait()
    parts.once.wait = 0
    with pytest.raises(StillRunning):
        await parts.once.answer_keyed(order(), never, may_promise=False)
    assert await parts.once.answer_keyed(order(), never, may_promise=True) == Promised(NAME)
    slow.let.set()
    assert await first == Answered(made().result)
    assert (await parts.job(NAME)).status == "succeeded"


async def test_a_failure_is_not_kept(parts: Parts) -> None:
    """An error is the caller's, and the next request tries anew; so it is with an answer that may pass."""

    async def fail(_: object) -> Made:
        raise GatewayTimeout("too slow")

    async def poor(_: object) -> Made:
        return Made(b"{}", lasting=False)

    with pytest.raises(GatewayTimeout):
        await parts.once.answer_keyed(order(), fail, may_promise=True)
    assert await parts.once.answer_keyed(order(), poor, may_promise=True) == Answered(b"{}")
    assert await parts.once.answer_keyed(order(), quick, may_promise=True) == Answered(made().result)


async def test_half_an_answer(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer with tasks that may yet be done is completed when it is asked for again, once for all who ask."""
    parts.once.wait = PATIENCE_SECONDS
    begun: list[Enrichment | None] = []
    looks = 0
    repeated = parts.desk.repeated

    async def looked(asked: Order) -> Kept | None:
        nonlocal looks
        found = await repeated(asked)
        looks += 1
        return found

    async def partly(done: Enrichment | None) -> Made:
        begun.append(done)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while done and looks < 2:
                await asyncio.sleep(0.01)
        return Made(half("timeout"), lasting=True)

    await parts.once.answer_keyed(order(), partly, may_promise=True)
    monkeypatch.setattr(parts.desk, "repeated", looked)
    asking = [parts.once.answer_keyed(order(), partly, may_promise=True) for _ in range(2)]
    answers = await asyncio.gather(*asking)
    assert {answer.result for answer in answers if isinstance(answer, Answered)} == {half("timeout")}
    assert [done and done.tasks[0].status for done in begun] == [None, "succeeded"]
    assert await parts.once.answer_keyed(order(), quick, may_promise=True) == Answered(made().result)
    assert await parts.once.answer_keyed(order(), never, may_promise=True) == Answered(made().result, repeated=True)


async def test_half_an_answer_for_good(parts: Parts) -> None:
    """What a model will not answer is not asked again under the same key."""

    async def refused(_: object) -> Made:
        return Made(half("refusal"), lasting=True)

    await parts.once.answer_keyed(order(), refused, may_promise=True)
    assert await parts.once.answer_keyed(order(), never, may_promise=True) == Answered(half("refusal"), repeated=True)


async def test_a_caller_who_leaves(parts: Parts) -> None:
    """When the caller leaves his work ends, and the next request begins anew."""
    parts.once.wait = PATIENCE_SECONDS
    slow = Slow()
    asking = asyncio.create_task(parts.once.answer_keyed(order(), slow, may_promise=True))
    await slow.under_way.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert slow.cancelled
    assert await parts.store.get(NAME) is None


async def test_a_process_that_died(parts: Parts) -> None:
    """What a dead process held is begun anew by the next request; nobody runs it as a job meanwhile."""
    held = parts.once._held(order(), promised=False)
    await parts.desk.create(held, order().request)
    parts.clock.pass_by(minutes=2)
    await parts.runner.run(NAME)
    assert not parts.work.done
    assert await parts.once.answer_keyed(order(), quick, may_promise=True) == Answered(made().result)


async def test_waiting_for_the_dead_counts(parts: Parts) -> None:
    """Who waited for a process that died has the rest of his time for the work, and is promised a job then."""
    parts.once.wait = 10 * PATIENCE_SECONDS
    await parts.desk.create(parts.once._held(order(), promised=False), order().request)
    slow = Slow()
    asking = asyncio.create_task(parts.once.answer_keyed(order(), slow, may_promise=True))
    await asyncio.sleep(0)
    parts.clock.pass_by(hours=1)
    async with asyncio.timeout(PATIENCE_SECONDS):
        reply = await asking
    assert isinstance(reply, Promised)
    assert reply.rest is not None
    slow.let.set()
    await reply.rest()
    assert slow.begun == 1


async def test_a_promised_job_whose_process_died(parts: Parts) -> None:
    """A job that was promised is taken over where its process died."""
    slow = Slow()
    reply = await parts.once.answer(order(), slow)
    assert isinstance(reply, Promised)
    parts.clock.pass_by(minutes=2)
    await parts.sweep.run()
    assert parts.hub.names() == ["one"]
    await parts.runner.run(NAME)
    assert (await parts.job(NAME)).status == "succeeded"
    slow.let.set()
    assert reply.rest is not None
    await reply.rest()  # too late: the outcome is the other's
    assert len(parts.work.done) == 1


async def test_a_failed_job_is_tried_again(parts: Parts) -> None:
    """The same request after its job has failed begins anew."""

    async def fail(*_: object) -> Made:
        raise ValueError

    parts.work.do = fail
    await parts.desk.submit(order())
    for _ in range(4):
        await parts.runner.run(NAME)
        parts.clock.pass_by(hours=1)
    assert (await parts.job(NAME)).status == "failed"
    assert await parts.once.answer_keyed(order(), quick, may_promise=True) == Answered(made().result)
