"""Usage events on their way out: shared acknowledgements, retries, and none lost without a word."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from gateway import publisher, usage
from gateway.publisher import UsagePublisher
from gateway.usage import UsageEvent
from seams.events import StreamUnavailable


def event(number: int, subscription: str = "team-a") -> UsageEvent:
    return UsageEvent(
        id=f"call-{number}",
        time=datetime(2026, 11, 21, tzinfo=UTC),
        subscription=subscription,
        operation="embeddings",
        deployment="embed",
        model="embed",
        backend="first",
        deployment_type="global",
        status=200,
        outcome="completed",
    )


@dataclass
class Stream:
    """Refuses its first `failures` batches; holds every batch back until `free` is set."""

    failures: int = 0
    batches: list[tuple[str, list[str]]] = field(default_factory=list)
    free: asyncio.Event = field(default_factory=asyncio.Event)

    async def publish(self, bodies: Sequence[bytes], key: str) -> None:
        await self.free.wait()
        if self.failures:
            self.failures -= 1
            raise StreamUnavailable("the hub is away")
        self.batches.append((key, [usage.decode(body).id for body in bodies]))

    async def incarnation(self) -> str:
        return "test"

    async def close(self) -> None:
        return


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "PAUSES", (0.0, 0.0, 0.0))


async def test_events_share_acknowledgements() -> None:
    """Events of one moment go in one batch a subscription, and each publish returns when its batch is durable."""
    stream = Stream()
    outgoing = UsagePublisher(stream)
    calls = [asyncio.create_task(outgoing.publish(event(n, f"team-{n % 2}"))) for n in range(10)]
    await asyncio.sleep(0.02)
    assert not any(call.done() for call in calls)
    stream.free.set()
    await asyncio.gather(*calls)
    assert sorted((key, len(ids)) for key, ids in stream.batches) == [("team-0", 5), ("team-1", 5)]


async def test_a_slow_stream_makes_larger_batches() -> None:
    """What comes while a batch is under way gathers for the next one."""
    stream = Stream()
    outgoing = UsagePublisher(stream)
    calls = [asyncio.create_task(outgoing.publish(event(0)))]
    await asyncio.sleep(0.02)
    calls += [asyncio.create_task(outgoing.publish(event(n))) for n in range(1, 50)]
    await asyncio.sleep(0)
    stream.free.set()
    await asyncio.gather(*calls)
    assert [len(ids) for _, ids in stream.batches] == [1, 49]


async def test_a_stream_that_comes_back() -> None:
    """A refused batch is tried again; nothing is lost, and nothing goes twice."""
    stream = Stream(failures=3)
    stream.free.set()
    outgoing = UsagePublisher(stream)
    await outgoing.publish(event(1))
    assert stream.batches == [("team-a", ["call-1"])]
    assert outgoing.lost == 0
    assert outgoing.failing_for() is None


async def test_a_stream_that_stays_away(caplog: pytest.LogCaptureFixture) -> None:
    """After the last try an event is counted as lost and is in the log whole; the call ends all the same."""
    stream = Stream(failures=100)
    stream.free.set()
    outgoing = UsagePublisher(stream)
    await asyncio.gather(outgoing.publish(event(1)), outgoing.publish(event(2)))
    assert outgoing.lost == 2
    records = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert [usage.decode(record.message.partition(": ")[2].encode()).id for record in records] == ["call-1", "call-2"]


async def test_a_cancelled_call_keeps_its_event() -> None:
    """Cancelling the wait does not take the event back."""
    stream = Stream()
    outgoing = UsagePublisher(stream)
    call = asyncio.create_task(outgoing.publish(event(1)))
    await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    stream.free.set()
    await outgoing.close()
    assert stream.batches == [("team-a", ["call-1"])]


async def test_too_many_wait(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The queue has a bound; beyond it an event is lost at once, and said so."""
    monkeypatch.setattr(publisher, "MOST_WAITING", 2)
    stream = Stream()
    outgoing = UsagePublisher(stream)
    calls = [asyncio.create_task(outgoing.publish(event(n))) for n in range(3)]
    await asyncio.sleep(0)
    await calls[2]
    assert outgoing.lost == 1
    stream.free.set()
    await asyncio.gather(*calls)
    assert stream.batches == [("team-a", ["call-0", "call-1"])]
    assert "call-2" in caplog.text


async def test_a_time_out_around_close_loses_nothing() -> None:
    """Whoever stops waiting for the close does not stop the events on their way."""
    stream = Stream()
    one = UsagePublisher(stream)
    publishing = asyncio.create_task(one.publish(event(1)))
    await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(one.close(), 0.02)
    stream.free.set()
    await publishing
    assert stream.batches == [("team-a", ["call-1"])]
    assert one.lost == 0


async def test_a_stop_loses_nothing_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    """A sender that is cancelled, with a batch under way and another gathering, counts and logs every event whole."""
    one = UsagePublisher(Stream())
    publishing = [asyncio.create_task(one.publish(event(1)))]
    await asyncio.sleep(0.02)
    publishing.append(asyncio.create_task(one.publish(event(2))))
    await asyncio.sleep(0)
    sender = one._sender
    assert sender is not None
    with caplog.at_level(logging.CRITICAL):
        sender.cancel()
        await asyncio.gather(*publishing)
    assert one.lost == 2
    for number in (1, 2):
        assert usage.encode(event(number)).decode() in caplog.text


async def test_an_event_that_cannot_be_written_takes_no_other_along() -> None:
    """What cannot be encoded fails its own call; the events beside it are published."""
    stream = Stream()
    stream.free.set()
    one = UsagePublisher(stream)
    bad = event(1, subscription="\ud800")
    with pytest.raises(UnicodeEncodeError):
        await asyncio.gather(one.publish(bad), one.publish(event(2)))
    await one.close()
    await one.publish(event(3))
    assert [ids for _, ids in stream.batches] == [["call-2"], ["call-3"]]
