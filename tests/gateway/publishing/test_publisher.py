"""Usage events on their way out: shared acknowledgements, bounds, and none lost without a word."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import pytest

from gateway import usage
from gateway.observer import NoObserver
from gateway.publishing import publisher
from gateway.publishing.delivery import DeliveryState
from gateway.publishing.publisher import UsagePublisher
from gateway.usage import Intent, UsageEvent, Withdrawal
from tests.gateway.event import an_event
from tests.gateway.outgoing import Out, Stream


def event(number: int, subscription: str = "team-a") -> UsageEvent:
    return msgspec.structs.replace(an_event(f"call-{number}"), subscription=subscription)


@dataclass
class Lags(NoObserver):
    """Notes what was published, and how long it waited."""

    heard: list[tuple[int, float]] = field(default_factory=list)

    def published(self, events: int, lag: float) -> None:
        self.heard.append((events, lag))


async def test_events_share_acknowledgements() -> None:
    """Events of one moment go in one batch a subscription, and each publish returns when its batch is durable."""
    lags = Lags()
    out = Out(Stream(), lags)
    calls = [asyncio.create_task(out.publisher.publish(event(n, f"team-{n % 2}"))) for n in range(10)]
    await asyncio.sleep(0.02)
    assert not any(call.done() for call in calls)
    out.stream.free.set()
    await asyncio.gather(*calls)
    assert sorted((key, len(ids)) for key, ids in out.stream.ids) == [("team-0", 5), ("team-1", 5)]
    assert [events for events, _ in lags.heard] == [5, 5]
    assert all(0.01 < lag < 10 for _, lag in lags.heard)


async def test_a_slow_stream_makes_larger_batches() -> None:
    """What comes while a batch is under way gathers for the next one."""
    out = Out(Stream())
    calls = [asyncio.create_task(out.publisher.publish(event(0)))]
    await asyncio.sleep(0.02)
    calls += [asyncio.create_task(out.publisher.publish(event(n))) for n in range(1, 50)]
    await asyncio.sleep(0)
    assert out.publisher.waiting == 49
    out.stream.free.set()
    await asyncio.gather(*calls)
    assert [len(ids) for _, ids in out.stream.ids] == [1, 49]
    assert out.publisher.waiting == 0


async def test_a_slow_key_holds_up_no_other() -> None:
    """Records of one key stay in order and wait for each other; those of another key do not wait for them."""

    class Picky(Stream):
        async def publish(self, bodies: Sequence[bytes], key: str) -> None:
            if key == "team-b":
                self.batches.append((key, [usage.decode(body) for body in bodies]))
            else:
                await super().publish(bodies, key)

    out = Out(Picky())
    slow = asyncio.create_task(out.publisher.publish(event(1, "team-a")))
    async with asyncio.timeout(30):
        await out.publisher.publish(event(2, "team-b"))
        await out.publisher.publish(event(3, "team-b"))
    assert not slow.done()
    out.stream.free.set()
    await slow
    assert out.stream.ids == [("team-b", ["call-2"]), ("team-b", ["call-3"]), ("team-a", ["call-1"])]


async def test_batches_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many wait, a batch is of a size that the outbox would take in a few transactions."""
    monkeypatch.setattr(publisher, "MOST_IN_A_BATCH", 20)
    out = Out()
    await asyncio.gather(*(out.publisher.publish(event(n)) for n in range(50)))
    assert [len(ids) for _, ids in out.stream.ids] == [20, 20, 10]
    assert [record.id for record in out.stream.records] == [f"call-{n}" for n in range(50)]


async def test_a_cancelled_call_keeps_its_event() -> None:
    """Cancelling the wait does not take the event back."""
    out = Out(Stream())
    call = asyncio.create_task(out.publisher.publish(event(1)))
    await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    out.stream.free.set()
    await out.publisher.close()
    assert out.stream.ids == [("team-a", ["call-1"])]


async def test_too_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key's queue has a bound; beyond it an event goes by memory to the outbox, and its call is over."""
    monkeypatch.setattr(publisher, "MOST_WAITING", 2)
    monkeypatch.setattr("gateway.publishing.delivery.PAUSES", (0.01, 0.05))
    out = Out(Stream())
    calls = [asyncio.create_task(out.publisher.publish(event(n))) for n in range(3)]
    await asyncio.sleep(0)
    await calls[2]
    assert out.delivery.state().kept == 1
    out.stream.free.set()
    await asyncio.gather(*calls)
    async with asyncio.timeout(30):
        while out.delivery.state().kept:
            await asyncio.sleep(0.005)
    assert sorted(record.id for record in out.stream.records) == ["call-0", "call-1"]
    assert [record.id for record in out.outboxed()] == ["call-2"]
    await out.publisher.close()


async def test_a_time_out_around_close_loses_nothing() -> None:
    """Whoever stops waiting for the close does not stop the events on their way."""
    out = Out(Stream())
    publishing = asyncio.create_task(out.publisher.publish(event(1)))
    await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(out.publisher.close(), 0.02)
    out.stream.free.set()
    await publishing
    assert out.stream.ids == [("team-a", ["call-1"])]
    assert out.delivery.state().lost == 0


async def test_a_stop_loses_nothing_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    """A sender that is cancelled, with a batch under way and another gathering, counts and logs every event whole."""
    out = Out(Stream())
    publishing = [asyncio.create_task(out.publisher.publish(event(1)))]
    await asyncio.sleep(0.02)
    publishing.append(asyncio.create_task(out.publisher.publish(event(2))))
    out.publisher.announce(intent(3))
    await asyncio.sleep(0)
    (lane,) = out.publisher._lanes.values()
    assert lane.sender is not None
    with caplog.at_level(logging.CRITICAL):
        lane.sender.cancel()
        await asyncio.gather(*publishing)
    assert (out.delivery.state().lost, out.delivery.state().dropped_intents) == (2, 1)
    assert out.publisher.waiting == 0
    for number in (1, 2):
        assert usage.encode(event(number)).decode() in caplog.text


async def test_an_event_that_cannot_be_written_takes_no_other_along() -> None:
    """What cannot be encoded fails its own call; the events beside it are published."""
    out = Out()
    bad = event(1, subscription="\ud800")
    with pytest.raises(UnicodeEncodeError):
        await asyncio.gather(out.publisher.publish(bad), out.publisher.publish(event(2)))
    await out.publisher.close()
    await out.publisher.publish(event(3))
    assert [ids for _, ids in out.stream.ids] == [["call-2"], ["call-3"]]


async def test_nothing_is_kept_of_what_went(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that nobody uses any more leaves nothing behind."""
    out = Out()
    await asyncio.gather(*(out.publisher.publish(event(n, f"team-{n}")) for n in range(100)))
    await asyncio.sleep(0)
    assert out.publisher._lanes == {}
    assert out.delivery.state() == DeliveryState(None, 0, 0, 0, 0)


def intent(number: int, subscription: str = "team-a") -> Intent:
    shown = an_event(f"call-{number}")
    return Intent(
        id=shown.id,
        time=shown.time,
        subscription=subscription,
        operation=shown.operation,
        deployment=shown.deployment,
        model=shown.model,
        backend=shown.backend,
        deployment_type=shown.deployment_type,
    )


async def test_nobody_waits_for_intents() -> None:
    """Intents gather longer than events, go in one batch, and are no usage events."""
    lags = Lags()
    out = Out(observer=lags)
    assert all(out.publisher.announce(intent(n)) for n in range(10))
    assert out.stream.batches == []
    async with asyncio.timeout(30):
        while not out.stream.batches:
            await asyncio.sleep(0.001)
    assert [len(ids) for _, ids in out.stream.ids] == [10]
    assert lags.heard == []


async def test_an_event_takes_its_intent_along(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a call does not wait until intents have gathered, and never overtakes its own."""
    monkeypatch.setattr(publisher, "GATHER_INTENTS_SECONDS", 60)
    out = Out()
    out.publisher.announce(intent(1))
    async with asyncio.timeout(30):
        await out.publisher.publish(event(1))
    assert [type(record) for record in out.stream.records] == [Intent, UsageEvent]


async def test_a_withdrawal_is_durable() -> None:
    """A withdrawal is waited for like an event, and takes the outbox where the hub is out."""
    withdrawal = Withdrawal(id="call-1", time=event(1).time, subscription="team-a")
    out = Out()
    await out.publisher.publish(withdrawal)
    assert out.stream.records == [withdrawal]
    out.stream.failures = 1
    await out.publisher.publish(withdrawal)
    assert out.delivery.state().outboxed == 0
    assert [usage.decode(waiting.body) for waiting in await out.outbox.oldest(9)] == [withdrawal]


async def test_intents_are_the_first_to_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where much waits intents are dropped and counted; events are not."""
    monkeypatch.setattr(publisher, "MOST_BEFORE_INTENTS", 2)
    out = Out(Stream())
    assert [out.publisher.announce(intent(n)) for n in range(4)] == [True, True, False, False]
    assert out.publisher.announce(intent(5, "team-b"))
    publishing = asyncio.create_task(out.publisher.publish(event(1)))
    await asyncio.sleep(0)
    assert out.publisher.waiting == 4
    out.stream.free.set()
    await publishing
    assert out.delivery.state().dropped_intents == 2
    await out.publisher.close()


async def test_no_intents_for_a_hub_that_is_out() -> None:
    """While the breaker is open nothing is announced, since intents have no other way."""
    out = Out()
    out.stream.failures = 3
    assert out.publisher.announces
    for number in range(3):
        await out.publisher.publish(event(number))
    assert not out.publisher.announces


async def test_intents_can_be_switched_off() -> None:
    """A publisher without intents says so before one is made."""
    assert not UsagePublisher(Out().delivery, intents=False).announces


async def test_a_subscription_that_is_too_much_for_a_partition() -> None:
    """Spread over several keys, all records of a call still have one: intent, broken attempts and end, in order."""
    out = Out()
    spread = UsagePublisher(out.delivery, keys=4)
    for number in range(20):
        assert spread.announce(intent(number))
        broken = msgspec.structs.replace(event(number), id=f"call-{number}-1", parent=f"call-{number}")
        await asyncio.gather(spread.publish(broken), spread.publish(event(number)))
    keys: dict[str, set[str]] = {}
    for key, records in out.stream.batches:
        for record in records:
            keys.setdefault("-".join(record.id.split("-")[:2]), set()).add(key)
    assert all(len(found) == 1 for found in keys.values())
    assert set.union(*keys.values()) == {f"team-a#{number}" for number in range(4)}
    await spread.close()


async def test_a_close_sends_what_gathers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intents that still gather are sent at the end."""
    monkeypatch.setattr(publisher, "GATHER_INTENTS_SECONDS", 60)
    out = Out()
    out.publisher.announce(intent(1))
    await asyncio.wait_for(out.publisher.close(), 5)
    assert [type(record) for record in out.stream.records] == [Intent]
