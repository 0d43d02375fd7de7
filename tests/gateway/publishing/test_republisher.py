"""From the outbox back to the hub: everything once, whatever is killed and whoever does the same."""

import asyncio
import os
from collections.abc import Callable, Sequence

import msgspec
import pytest

from gateway import usage
from gateway.publishing import republisher
from gateway.publishing.outbox import OUTBOX, Outbox
from gateway.publishing.republisher import Republisher
from gateway.usage import UsageEvent, Withdrawal
from seams.clock import SystemClock
from seams.tables import MAX_OPERATIONS, Tables, TableUnavailable
from tests.gateway.event import an_event
from tests.gateway.memory_tables import MemoryTables
from tests.gateway.outgoing import Stream


def free_stream(failures: int = 0) -> Stream:
    stream = Stream(failures)
    stream.free.set()
    return stream


@pytest.fixture
async def tables(rival_tables: Callable[[], Tables]) -> Tables:
    """Either store, with an empty outbox."""
    store = rival_tables()
    box = outbox(store)
    while rows := await box.oldest(1000):
        await box.remove(rows)
    return store


def outbox(tables: Tables) -> Outbox:
    return Outbox(tables, SystemClock(), os.urandom(6).hex())


def bodies(*names: str) -> list[bytes]:
    return [usage.encode(an_event(name)) for name in names]


async def test_what_waits_is_published_and_gone(tables: Tables) -> None:
    """Each record goes under its own key, events marked as replayed, withdrawals as they were; nothing stays."""
    one, two = outbox(tables), outbox(tables)
    withdrawal = Withdrawal(id="gone", time=an_event("x").time, subscription="team-b")
    await one.put("team-a", bodies(*(f"a-{n:03}" for n in range(250))))
    await two.put("team-b", [*bodies("b-0"), usage.encode(withdrawal)])
    stream = free_stream()
    assert await Republisher(two, stream, SystemClock()).run() == 252
    sent = dict(stream.batches)
    assert [record.id for record in sent["team-a"]] == [f"a-{n:03}" for n in range(250)]
    assert sent["team-b"] == [msgspec.structs.replace(an_event("b-0"), replayed=True), withdrawal]
    assert all(isinstance(event, UsageEvent) and event.replayed for event in sent["team-a"])
    assert await one.oldest(1) == []
    assert await Republisher(two, stream, SystemClock()).run() == 0


async def test_a_hub_that_is_still_away(tables: Tables) -> None:
    """What the hub refuses stays, and one batch is enough to find out."""
    box = outbox(tables)
    for number in range(5):
        await box.put(f"team-{number}", bodies(f"call-{number}"))
    stream = free_stream(1)
    assert await Republisher(box, stream, SystemClock()).run() == 0
    assert stream.asked == 1
    assert len(await box.oldest(10)) == 5
    assert await Republisher(box, stream, SystemClock()).run() == 5


async def test_rivals(tables: Tables) -> None:
    """Two instances at once publish everything at least once and leave nothing; none of them fails."""
    box = outbox(tables)
    for start in range(0, 120, 40):
        await box.put("team-a", bodies(*(f"call-{n}" for n in range(start, start + 40))))
    stream = free_stream()
    rivals = [Republisher(outbox(tables), stream, SystemClock()) for _ in range(2)]
    await asyncio.gather(*(rival.run() for rival in rivals))
    assert {record.id for record in stream.records} == {f"call-{n}" for n in range(120)}
    assert await box.oldest(1) == []


async def test_pages(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a page is taken page by page, in each the oldest first."""
    monkeypatch.setattr(republisher, "PAGE", 7)
    box = outbox(tables)
    await box.put("team-a", bodies(*(f"call-{n:02}" for n in range(30))))
    stream = free_stream()
    assert await Republisher(box, stream, SystemClock()).run() == 30
    assert [len(ids) for _, ids in stream.ids] == [7, 7, 7, 7, 2]
    assert all(ids == sorted(ids) for _, ids in stream.ids)
    assert sorted(record.id for record in stream.records) == [f"call-{n:02}" for n in range(30)]


async def test_an_end_to_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run ends after its time, and the next one goes on."""
    monkeypatch.setattr(republisher, "PAGE", 2)
    monkeypatch.setattr(republisher, "RUN_SECONDS", 0)
    box = outbox(MemoryTables())
    await box.put("team-a", bodies("one", "two", "three"))
    republishing = Republisher(box, free_stream(), SystemClock())
    assert [await republishing.run(), await republishing.run(), await republishing.run()] == [2, 1, 0]


async def test_a_kill_between_publishing_and_deleting() -> None:
    """Where the delete never happened the next run publishes again, marked, and deletes."""
    tables, stream = MemoryTables(), free_stream()
    box = outbox(tables)
    await box.put("team-a", bodies("one", "two"))

    async def killed() -> None:
        if stream.batches:
            raise TableUnavailable("killed")

    tables.before = killed
    with pytest.raises(TableUnavailable):
        await Republisher(box, stream, SystemClock()).run()
    stream.batches, first = [], stream.batches
    tables.before = an_answer
    assert await Republisher(box, stream, SystemClock()).run() == 2
    assert stream.batches == first
    assert tables.rows == {}


async def an_answer() -> None:
    return


async def test_what_nobody_can_read() -> None:
    """A row whose body is no record goes to the hub as it is, where the ledger keeps it as a dead letter."""
    published: list[bytes] = []

    class Raw(Stream):
        async def publish(self, bodies: Sequence[bytes], key: str) -> None:
            published.extend(bodies)

    box = outbox(MemoryTables())
    await box.put("team-a", [b"{", b'{"kind":"unheard-of"}'])
    assert await Republisher(box, Raw(), SystemClock()).run() == 2
    assert published == [b"{", b'{"kind":"unheard-of"}']


async def test_transactions_have_bounds() -> None:
    """A put of many, or of large, records is several transactions, each within the limits of every store."""
    tables = MemoryTables()
    box = outbox(tables)
    await box.put("team-a", bodies(*(f"call-{n}" for n in range(2 * MAX_OPERATIONS + 1))))
    assert tables.calls == 3
    await box.put("team-b", [b"x" * 40_000] * 30)
    assert tables.calls == 5
    with pytest.raises(ValueError, match="bytes"):
        await box.put("team-b", [b"x" * 70_000])


async def test_a_silent_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that does not answer is given up after a bounded time."""
    monkeypatch.setattr("gateway.publishing.outbox.PUT_SECONDS", 0.05)

    async def silence() -> None:
        await asyncio.Event().wait()

    tables = MemoryTables()
    tables.before = silence
    with pytest.raises(TableUnavailable, match="nothing within"):
        await outbox(tables).put("team-a", bodies("one"))
    assert not any(name == OUTBOX for name, _, _ in tables.rows)
