"""Dead letters are listed, shown and published again, and never lost by it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from chargeback.deadletters.deadletters import DEADLETTERS, DeadLetter
from chargeback.deadletters.requeueing import DeadLetters
from chargeback.errors import AlreadyRequeued, DeadLetterNotFound, DeadLetterTruncated, StillImpossible
from chargeback.ledger.ledger import Ledger
from chargeback.prices import Prices
from gateway.usage import decode_event, encode
from local.events.events import LocalStream
from seams.events import ReceivedEvent, StreamUnavailable
from seams.tables import Operation, Replace, Table, TableConflict, Tables, TableUnavailable
from tests.chargeback.staging import MakeEvent, ReadOnly, incarnation, rows, sums

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


class Clock:
    def now(self) -> datetime:
        return NOON + timedelta(hours=1)

    def monotonic(self) -> float:
        return 0.0


@pytest.fixture
async def stream(tmp_path: Path) -> AsyncIterator[LocalStream]:
    opened = LocalStream(tmp_path / "hub.sqlite")
    yield opened
    await opened.close()


async def put_aside(
    tables: Tables, prices: Prices, bodies: Sequence[bytes], at: datetime = NOON, first: int = 0
) -> None:
    """Let the collector make dead letters of these, a minute apart; `first` is the number of the first."""
    batch = [ReceivedEvent(body, "1", first + n, at + n * timedelta(minutes=1)) for n, body in enumerate(bodies)]
    await Ledger(tables, prices, incarnation).collect(batch)


async def published(stream: LocalStream) -> list[bytes]:
    return [event.body for partition in stream.partitions for event in await stream.read(partition, -1, 100)]


async def collect_again(tables: Tables, prices: Prices, stream: LocalStream) -> None:
    for partition in stream.partitions:
        events = await stream.read(partition, -1, 100)
        batch = [ReceivedEvent(event.body, f"again-{partition}", event.sequence, event.enqueued_at) for event in events]
        await Ledger(tables, prices, incarnation).collect(batch)


async def only(letters: DeadLetters) -> DeadLetter:
    (letter,) = (await letters.page(10)).letters
    return letter


async def test_the_latest_come_first_page_by_page(tables: Tables, prices: Prices, stream: LocalStream) -> None:
    """Pages go back in time, over years too, and end with None."""
    times = [NOON - timedelta(days=700), NOON - timedelta(days=366), NOON]
    for number, at in enumerate(times):
        await put_aside(tables, prices, [b"a", b"b"], at, first=2 * number)
    letters = DeadLetters(tables, stream, Clock())

    whole = await letters.page(10)
    assert [one.enqueued_at for one in whole.letters] == sorted(
        (one.enqueued_at for one in whole.letters), reverse=True
    )
    assert (len(whole.letters), whole.next) == (6, None)
    pages, after = [], ""
    while True:
        page = await letters.page(2, after)
        pages += page.letters
        if page.next is None:
            break
        after = page.next
    assert pages == whole.letters
    newest = whole.letters[0]
    assert (newest.lane.partition, newest.sequence_number, newest.size, newest.truncated) == ("1", 5, 1, False)


async def test_those_that_wait(tables: Tables, prices: Prices, stream: LocalStream) -> None:
    """A requeued one is left out where only those that wait are asked for."""
    await put_aside(tables, prices, [b"a", b"b", b"c"])
    letters = DeadLetters(tables, stream, Clock())
    second = (await letters.page(10)).letters[1]
    await letters.requeue(second.id, "ops", force=True)

    waiting = await letters.page(10, waiting=True)

    assert [one.sequence_number for one in waiting.letters] == [2, 0]
    assert [one.sequence_number for one in (await letters.page(1, waiting=True)).letters] == [2]


async def test_a_mended_event_is_counted_once(
    tables: Tables, prices: Prices, stream: LocalStream, make_event: MakeEvent
) -> None:
    """A body that was mended is published as a replay and counted; the dead letter stays and tells of it."""
    event = make_event()
    broken = encode(event).replace(b'"status":200', b'"status":2000')
    await put_aside(tables, prices, [broken])
    letters = DeadLetters(tables, stream, Clock())
    letter = await only(letters)
    assert await letters.show(letter.id) == (letter, broken)

    noted = await letters.requeue(letter.id, "ops", encode(event))
    await letters.requeue(letter.id, "ops", encode(event), force=True)

    assert [decode_event(body) for body in await published(stream)] == [
        msgspec.structs.replace(event, replayed=True)
    ] * 2
    await collect_again(tables, prices, stream)
    assert await sums(tables) == {"events": 1, "prompt": 100, "completion": 10}
    assert [(one.at, one.by, one.mended) for one in noted.requeues] == [(Clock().now(), "ops", True)]
    assert len((await only(letters)).requeues) == 2
    assert await letters.show(letter.id) == (await only(letters), broken)


async def test_one_that_was_counted_after_all_is_not_counted_twice(
    tables: Tables, prices: Prices, stream: LocalStream, make_event: MakeEvent
) -> None:
    """Where the producer had sent the right event as well, a requeue adds nothing."""
    event = make_event()
    await put_aside(tables, prices, [b"{", encode(event)])
    letters = DeadLetters(tables, stream, Clock())
    await letters.requeue((await only(letters)).id, "ops", encode(event))

    await collect_again(tables, prices, stream)

    assert (await sums(tables))["events"] == 1


async def test_what_a_mended_collector_can_read_goes_as_it_is(
    tables: Tables, prices: Prices, stream: LocalStream, make_event: MakeEvent
) -> None:
    """An event that was refused for its time only is published as it was kept."""
    event = make_event(time=NOON + timedelta(days=1, minutes=30))
    early = [ReceivedEvent(encode(event), "0", 0, NOON - timedelta(days=1))]
    await Ledger(tables, prices, incarnation).collect(early)
    letters = DeadLetters(tables, stream, Clock())

    await letters.requeue((await only(letters)).id, "ops")

    assert [decode_event(body).id for body in await published(stream)] == [event.id]


async def test_what_would_die_again_is_refused_unless_forced(
    tables: Tables, prices: Prices, stream: LocalStream
) -> None:
    """Neither the kept body nor a mended one that is no event goes out, but by force; the reason is told."""
    await put_aside(tables, prices, [b"\xff{"])
    letters = DeadLetters(tables, stream, Clock())
    letter = await only(letters)
    for mended in (b"", b'{"id": "x"}'):
        with pytest.raises(StillImpossible, match="dead letter again"):
            await letters.requeue(letter.id, "ops", mended)
    assert await published(stream) == []

    await letters.requeue(letter.id, "ops", force=True)

    assert await published(stream) == [b"\xff{"]


async def test_twice_is_refused_unless_forced(tables: Tables, prices: Prices, stream: LocalStream) -> None:
    """A second requeue names the first one."""
    await put_aside(tables, prices, [b"x"])
    letters = DeadLetters(tables, stream, Clock())
    letter = await only(letters)
    await letters.requeue(letter.id, "ops", force=True)
    with pytest.raises(AlreadyRequeued, match=r"2026-11-20T13:00:00\+00:00 by ops"):
        await letters.requeue(letter.id, "ops")
    assert len(await published(stream)) == 1


async def test_a_truncated_body_goes_only_mended(
    tables: Tables, prices: Prices, stream: LocalStream, make_event: MakeEvent
) -> None:
    """Half an event is never published, not even by force; a whole one in its place is."""
    await put_aside(tables, prices, [b"x" * 700_000])
    letters = DeadLetters(tables, stream, Clock())
    letter = await only(letters)
    assert len((await letters.show(letter.id))[1]) == 640 * 1024
    for force in (False, True):
        with pytest.raises(DeadLetterTruncated, match="700000 bytes"):
            await letters.requeue(letter.id, "ops", force=force)
    await letters.requeue(letter.id, "ops", encode(make_event()))
    assert len(await published(stream)) == 1


@pytest.mark.parametrize("name", ["", "x", "1" * 35, "9" * 18 + "-" + "0" * 16, "0" * 18 + "-" + "0" * 16, "../usage"])
async def test_an_id_of_nothing(tables: Tables, stream: LocalStream, name: str) -> None:
    """What is no dead letter's id is not found, whatever it looks like."""
    letters = DeadLetters(tables, stream, Clock())
    with pytest.raises(DeadLetterNotFound):
        await letters.show(name)
    with pytest.raises(DeadLetterNotFound):
        await letters.requeue(name, "ops", force=True)


async def test_redelivery_does_not_forget_a_requeue(tables: Tables, prices: Prices, stream: LocalStream) -> None:
    """A batch that comes again leaves the row as it is."""
    await put_aside(tables, prices, [b"x"])
    letters = DeadLetters(tables, stream, Clock())
    await letters.requeue((await only(letters)).id, "ops", force=True)
    before = await rows(tables, DEADLETTERS)

    await put_aside(tables, prices, [b"x"])

    assert await rows(tables, DEADLETTERS) == before


async def test_a_hub_out_of_reach_leaves_it_as_it_was(tables: Tables, prices: Prices, stream: LocalStream) -> None:
    """Nothing is noted that was not published."""
    await put_aside(tables, prices, [b"x"])
    letters = DeadLetters(tables, stream, Clock())
    letter = await only(letters)
    await stream.close()
    with pytest.raises(StreamUnavailable):
        await letters.requeue(letter.id, "ops", force=True)
    assert await only(letters) == letter


async def test_a_kill_between_publishing_and_noting(
    tables: Tables, prices: Prices, stream: LocalStream, make_event: MakeEvent
) -> None:
    """Requeued once more after a kill, the event is still counted once."""

    class DiesBeforeNoting:
        async def table(self, name: str) -> Table:
            return ReadOnly(await tables.table(name))

        async def close(self) -> None: ...

    await put_aside(tables, prices, [b"x"])
    letter = await only(DeadLetters(tables, stream, Clock()))
    mended = encode(make_event())
    with pytest.raises(TableUnavailable):
        await DeadLetters(DiesBeforeNoting(), stream, Clock()).requeue(letter.id, "ops", mended)
    await DeadLetters(tables, stream, Clock()).requeue(letter.id, "ops", mended)

    await collect_again(tables, prices, stream)

    assert len(await published(stream)) == 2
    assert (await sums(tables))["events"] == 1


async def test_two_operators_at_once(tables: Tables, prices: Prices, stream: LocalStream) -> None:
    """Both requeues are noted, whoever was faster; one who is never let in gives up."""
    await put_aside(tables, prices, [b"x"])
    letters = DeadLetters(tables, stream, Clock())
    letter = await only(letters)

    await asyncio.gather(*(letters.requeue(letter.id, by, force=True) for by in ("one", "two")))

    assert sorted(one.by for one in (await only(letters)).requeues) == ["one", "two"]

    class Contended:
        async def table(self, name: str) -> Table:
            return Taken(await tables.table(name))

        async def close(self) -> None: ...

    class Taken(ReadOnly):
        async def transact(self, operations: Sequence[Operation]) -> list[str | None]:
            assert isinstance(operations[0], Replace)
            raise TableConflict("taken", 0)

    with pytest.raises(TableConflict, match="others kept"):
        await DeadLetters(Contended(), stream, Clock()).requeue(letter.id, "three", force=True)
