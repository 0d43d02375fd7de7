"""Batches of the hub: what becomes a job, what a dead letter, and that none disturbs the others."""

import asyncio
import json

import pytest

from enrichment.jobs.job import JobName
from enrichment.jobs.made import Made
from local.tables import SQLiteTables
from seams.tables import Entity, TableUnavailable, Upsert
from tests.enrichment.jobs.parts import CALLBACK, NOISE, TICKET, Parts, event_of, made

EVENT = {"id": "INC-1", "subscription": "team-a", "ticket": TICKET, "tasks": ["summary"]}


async def test_a_whole_job(parts: Parts) -> None:
    """An event with a whole job makes it and runs it; the same event again does nothing."""
    for _ in range(2):
        await parts.batches.run([event_of(EVENT, 1), event_of(EVENT, 2)])
    assert parts.work.done == [JobName("team-a", "INC-1")]
    assert (await parts.job(JobName("team-a", "INC-1"))).status == "succeeded"
    assert not await parts.dead_letters()


async def test_a_name(parts: Parts) -> None:
    """What the desk hands over is run; a name without a job does nothing."""
    await parts.batches.run([event_of({"job": "nothing", "subscription": "team-a"})])
    assert not parts.work.done
    assert not await parts.dead_letters()


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (b"\xff\xfe", "not JSON"),
        (b"", "not JSON"),
        (b"[1]", "not a JSON object"),
        (b"[" * 100_000, "not JSON"),
        ({**EVENT, "tasks": ["dance"]}, "tasks.0"),
        ({**EVENT, "ticket": {}}, "ticket"),
        ({**EVENT, "id": "../etc"}, "id takes"),
        ({**EVENT, "id": 7}, "id"),
        ({**EVENT, "subscription": "a|b"}, "subscription is not"),
        ({**EVENT, "surprise": 1}, "surprise"),
        ({**EVENT, "callback": {"url": "https://evil.example.net/"}}, "not among those"),
        ({**EVENT, "key": "wrong"}, "no subscription's"),
        ({**EVENT, "key": "key-b"}, "another subscription's"),
        ({"job": "x"}, "subscription"),
        ({**EVENT, "ticket": {"short_description": "x", "work_notes": NOISE}}, "655360"),
    ],
)
async def test_poison(parts: Parts, told: object, reason: str) -> None:
    """What is no job becomes a dead letter with the reason, and the others of the batch are done."""
    await parts.batches.run([event_of(told, 1), event_of(EVENT, 2)])
    assert parts.work.done == [JobName("team-a", "INC-1")]
    [dead] = await parts.dead_letters()
    assert reason in str(dead.values["reason"])
    assert "dance" not in str(dead.values["reason"])


async def test_untrusted_producers(tables: SQLiteTables) -> None:
    """Where producers are not trusted an event needs its subscription's key, which is kept nowhere."""
    parts = Parts(tables, trusted=False)
    keyed = {**EVENT, "id": "keyed", "key": "key-a"}
    await parts.batches.run([event_of(EVENT, 1), event_of(keyed, 2), event_of({**keyed, "subscription": "team-b"}, 3)])
    assert parts.work.done == [JobName("team-a", "keyed")]
    assert "no key" in str((await parts.dead_letters())[0].values["reason"])
    for name in ("jobs", "jobdeadletters"):
        async for row in (await tables.table(name)).query():
            assert not any(b"key-a" in (value if isinstance(value, bytes) else str(value).encode())
                           for value in row.values.values())  # fmt: skip


async def test_another_job_of_the_same_id(parts: Parts) -> None:
    """An event whose id another job of the subscription has is a dead letter; another subscription may have it."""
    other = {**EVENT, "tasks": ["sentiment"]}
    await parts.batches.run([event_of(EVENT, 1)])
    await parts.batches.run([event_of(other, 2), event_of({**other, "subscription": "team-b"}, 3)])
    assert parts.work.done == [JobName("team-a", "INC-1"), JobName("team-b", "INC-1")]
    assert len(await parts.dead_letters()) == 1


async def test_bounded(parts: Parts) -> None:
    """No more jobs run at a time than there are slots for."""
    running = most = 0
    full = asyncio.Event()

    async def count(*_: object) -> Made:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if most == 4:
            full.set()
        await full.wait()
        await asyncio.sleep(0.001)
        running -= 1
        return made()

    parts.work.do = count
    events = [event_of({**EVENT, "id": f"job-{number}"}, number) for number in range(30)]
    await asyncio.gather(parts.batches.run(events[:15]), parts.batches.run(events[15:]))
    assert len(parts.work.done) == 30
    assert most == 4


async def test_failures_do_not_spread(parts: Parts) -> None:
    """A job that fails is no failure of its batch."""

    async def some(name: JobName, _: bytes) -> Made:
        if name.id == "bad":
            raise ValueError
        return made()

    parts.work.do = some
    await parts.batches.run([event_of({**EVENT, "id": name}, place) for place, name in enumerate(("bad", "good"))])
    assert (await parts.job(JobName("team-a", "bad"))).status == "queued"
    assert (await parts.job(JobName("team-a", "good"))).status == "succeeded"


async def test_silent_tables(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the tables do not answer the batch fails, so that it comes again."""

    async def silent(*_: object) -> None:
        raise TableUnavailable("silent")

    with monkeypatch.context() as patched:
        patched.setattr(parts.store, "create", silent)
        with pytest.raises(TableUnavailable):
            await parts.batches.run([event_of(EVENT)])
    await parts.batches.run([event_of(EVENT)])
    assert len(parts.work.done) == 1


async def test_a_mangled_row(parts: Parts) -> None:
    """A job whose row cannot be read, or written, keeps the others of its batch from nothing."""
    table = await parts.tables.table("jobs")
    await table.transact([Upsert(Entity("team-a|bad", "job", {"subscription": "team-a"}))])
    named = {"job": "bad", "subscription": "team-a"}
    await parts.batches.run([event_of(named, 1), event_of({**EVENT, "id": "bad"}, 2), event_of(EVENT, 3)])
    assert parts.work.done == [JobName("team-a", "INC-1")]
    assert len(await parts.dead_letters()) == 1


async def test_the_request_is_kept_as_it_came(parts: Parts) -> None:
    """Work is given the request without envelope and key, in one spelling."""
    seen: list[bytes] = []

    async def look(_: JobName, request: bytes) -> Made:
        seen.append(request)
        return made()

    parts.work.do = look
    told = {**EVENT, "key": "key-a", "callback": CALLBACK, "ticket": {**TICKET, "description": "Ü\ud800"}}
    await parts.batches.run([event_of(told)])
    assert json.loads(seen[0]) == {"ticket": told["ticket"], "tasks": ["summary"]}
