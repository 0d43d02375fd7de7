"""The ways of a usage event out: the hub, the outbox, memory, and the log."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from gateway import usage
from gateway.observer import NoObserver
from gateway.publishing import delivery, publisher
from gateway.publishing.delivery import DeliveryState, Outgoing
from gateway.routing.breaker import BreakerRules
from gateway.usage import UsageEvent
from tests.gateway.event import an_event
from tests.gateway.outgoing import Out, Stream


@dataclass
class Notes(NoObserver):
    """What a delivery told of."""

    heard: list[tuple[str, int]] = field(default_factory=list)

    def published(self, events: int, lag: float) -> None:
        self.heard.append(("published", events))

    def outboxed(self, events: int) -> None:
        self.heard.append(("outboxed", events))

    def lost(self, events: int) -> None:
        self.heard.append(("lost", events))

    def intents_dropped(self, intents: int) -> None:
        self.heard.append(("dropped", intents))


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "PAUSES", (0.01, 0.05))
    monkeypatch.setattr(delivery, "HUB_RULES", BreakerRules(consecutive=3, pause=0.2, longest_pause=0.2))
    monkeypatch.setattr(delivery, "OUTBOX_RULES", BreakerRules(consecutive=1, pause=0.01, longest_pause=0.05))


def away(failures: int = 1_000_000) -> Stream:
    """Return a stream that refuses so many batches."""
    stream = Stream(failures)
    stream.free.set()
    return stream


async def settled(out: Out) -> None:
    """Wait until memory is empty."""
    async with asyncio.timeout(10):
        while out.delivery.state().kept:
            await asyncio.sleep(0.005)


async def test_a_hub_that_is_away() -> None:
    """Refused events are in the outbox as they were, under their key; the call is over, and nothing is lost."""
    notes = Notes()
    out = Out(away(), notes)
    await asyncio.gather(*(out.publisher.publish(an_event(f"call-{n}")) for n in range(3)))
    assert [event.id for event in out.outboxed()] == ["call-0", "call-1", "call-2"]
    assert not any(event.replayed for event in out.outboxed())
    assert {row.values["key"] for row in out.tables.rows.values()} == {"team-a"}
    assert notes.heard == [("outboxed", 3)]
    state = out.delivery.state()
    assert (state.outboxed, state.kept, state.lost) == (3, 0, 0)
    assert state.failing_for is not None


async def test_a_dead_hub_is_not_asked_for_every_call(caplog: pytest.LogCaptureFixture) -> None:
    """After some failures in a row events go straight to the outbox; one batch finds out that the hub is back."""
    out = Out(away(3))
    for number in range(20):
        await out.publisher.publish(an_event(f"call-{number}"))
    assert out.stream.asked == 3
    assert not out.delivery.open()
    assert len(out.outboxed()) == 20
    async with asyncio.timeout(30):
        while not out.stream.batches:
            await out.publisher.publish(an_event("probe"))
            await asyncio.sleep(0.01)
    assert out.delivery.open()
    assert out.delivery.state().failing_for is None
    assert "go to the outbox" in caplog.text
    assert "takes usage events again" in caplog.text


async def test_one_probe_at_a_time() -> None:
    """While one batch finds out whether the hub is back, the others do not wait for it."""
    out = Out(away(3))
    for number in range(3):
        await out.publisher.publish(an_event(f"call-{number}"))
    async with asyncio.timeout(30):
        while not out.delivery.open():
            await asyncio.sleep(0.01)
    out.stream.free.clear()
    probe = asyncio.create_task(out.delivery.deliver("team-b", [outgoing("probe", key="team-b")]))
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await out.publisher.publish(an_event("another"))
    assert "another" in [event.id for event in out.outboxed()]
    out.stream.free.set()
    await probe
    assert out.stream.ids == [("team-b", ["probe"])]


async def test_both_ways_out(caplog: pytest.LogCaptureFixture) -> None:
    """Where hub and tables are out, events are in memory; they leave it marked as replayed once one is back."""
    notes = Notes()
    out = Out(away(), notes)
    out.cut_tables()
    with caplog.at_level(logging.WARNING):
        for number in range(4):
            await out.publisher.publish(an_event(f"call-{number}"))
        assert out.delivery.state().kept == 4
        assert [record.message for record in caplog.records if record.levelno == logging.CRITICAL] == [
            "Usage events wait in memory: neither the event hub nor the outbox takes them in time"
        ]
        out.stream.failures = 0
        await settled(out)
    assert [record.id for record in out.stream.records] == [f"call-{number}" for number in range(4)]
    assert all(isinstance(event, UsageEvent) and event.replayed for event in out.stream.records)
    assert out.delivery.state().lost == 0
    assert notes.heard == [("published", 4)]
    await out.publisher.close()
    assert "No usage event waits in memory any more" in caplog.text


async def test_memory_takes_the_outbox_too() -> None:
    """What is in memory goes to the outbox where that is back first."""
    out = Out(away())
    out.cut_tables()
    await out.publisher.publish(an_event("call-1"))
    assert out.delivery.state().kept == 1
    out.mend_tables()
    await settled(out)
    assert [(event.id, event.replayed) for event in out.outboxed()] == [("call-1", True)]
    await out.publisher.close()


async def test_memory_does_not_wait_for_a_slow_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """What had no room in its lane is in the outbox before the hub has answered at all, so a kill does not take it."""
    monkeypatch.setattr(publisher, "MOST_WAITING", 1)
    out = Out(Stream())
    calls = [asyncio.create_task(out.publisher.publish(an_event("call-0")))]
    async with asyncio.timeout(10):
        while not out.stream.asked:
            await asyncio.sleep(0.001)
    calls.append(asyncio.create_task(out.publisher.publish(an_event("call-1"))))
    await asyncio.sleep(0)
    await out.publisher.publish(an_event("call-2"))
    await settled(out)
    assert ([event.id for event in out.outboxed()], out.stream.asked) == (["call-2"], 1)
    out.stream.free.set()
    await asyncio.gather(*calls)
    await out.publisher.close()


async def test_calls_do_not_wait_for_what_is_known_to_be_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """With both breakers open a call's event is in memory at once, and neither store is asked."""
    monkeypatch.setattr(delivery, "PAUSES", (60, 60))
    monkeypatch.setattr(delivery, "HUB_RULES", BreakerRules(consecutive=1, pause=60))
    monkeypatch.setattr(delivery, "OUTBOX_RULES", BreakerRules(consecutive=1, pause=60))
    out = Out(away())
    out.cut_tables()
    for number in range(10):
        await out.publisher.publish(an_event(f"call-{number}"))
    assert (out.stream.asked, out.tables.calls) == (1, 1)
    assert out.delivery.state().kept == 10
    await out.publisher.close()


async def test_memory_has_a_bound(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """What has no room any more is in the log whole, at level CRITICAL, and counted as lost."""
    monkeypatch.setattr(delivery, "MOST_KEPT", 2)
    notes = Notes()
    out = Out(away(), notes)
    out.cut_tables()
    for number in range(4):
        await out.publisher.publish(an_event(f"call-{number}"))
    assert out.delivery.state().lost == 2
    assert notes.heard == [("lost", 1), ("lost", 1)]
    lost = [record.message.partition(": ")[2] for record in caplog.records if "lost" in record.message]
    assert [usage.decode(line.encode()).id for line in lost] == ["call-2", "call-3"]
    out.stream.failures = 0
    await settled(out)
    await out.publisher.close()


async def test_a_close_tries_once_more(caplog: pytest.LogCaptureFixture) -> None:
    """At the end what is in memory is tried a last time; what no store takes is in the log whole."""
    out = Out(away())
    out.cut_tables()
    await out.publisher.publish(an_event("call-1"))
    await asyncio.wait_for(out.publisher.close(), 5)
    state = out.delivery.state()
    assert (state.lost, state.kept) == (1, 0)
    assert usage.encode(an_event("call-1")).decode().removesuffix("}") in caplog.text
    out.stream.failures = 0


async def test_an_error_of_ours_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a stream raises, its batch goes on to the outbox."""

    class Broken(Stream):
        async def publish(self, bodies: Sequence[bytes], key: str) -> None:
            raise ZeroDivisionError("a fault in a library")

    out = Out(Broken())
    await out.publisher.publish(an_event("call-1"))
    assert [event.id for event in out.outboxed()] == ["call-1"]


async def test_a_lost_acknowledgement() -> None:
    """Events that the hub may have are in the outbox as well: the ledger drops what it knows."""

    class Deaf(Stream):
        async def publish(self, bodies: Sequence[bytes], key: str) -> None:
            await super().publish(bodies, key)
            raise TimeoutError("no acknowledgement")

    stream = Deaf()
    stream.free.set()
    out = Out(stream)
    await out.publisher.publish(an_event("call-1"))
    assert [record.id for record in stream.records] == [event.id for event in out.outboxed()] == ["call-1"]


async def test_intents_are_dropped_first() -> None:
    """A refused batch's intents are counted and forgotten; its events are in the outbox."""
    notes = Notes()
    out = Out(away(), notes)
    await out.delivery.deliver("team-a", [outgoing("one", kind="intent"), outgoing("two")])
    assert [event.id for event in out.outboxed()] == ["two"]
    assert notes.heard == [("dropped", 1), ("outboxed", 1)]
    assert replace(out.delivery.state(), failing_for=None) == DeliveryState(None, 0, 1, 0, 1)


async def test_intents_are_no_usage_events() -> None:
    """An intent that is published is not counted among the usage events."""
    notes = Notes()
    out = Out(observer=notes)
    await out.delivery.deliver("team-a", [outgoing("one", kind="intent"), outgoing("one")])
    await out.delivery.deliver("team-a", [outgoing("two", kind="intent")])
    assert notes.heard == [("published", 1)]
    assert len(out.stream.records) == 3


def outgoing(name: str, key: str = "team-a", kind: delivery.Kind = "event") -> Outgoing:
    return Outgoing(usage.encode(an_event(name)), key, kind, asyncio.get_running_loop().time())
