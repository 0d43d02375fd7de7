"""What an observer hears, over real sockets."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2
import openai
import pytest

from gateway.call import Call
from gateway.catalog.catalog import Member
from gateway.errors import GatewayError
from gateway.metering.tokens import TokenCounter
from gateway.observer import NoObserver
from gateway.routing.breaker import Breaker, BreakerRules, BreakerState
from gateway.usage import UsageEvent
from local.simulator.faults import Cut, Status
from local.simulator.server import Simulator
from tests.gateway.running import RunningGateway, run_gateway

HELLO: Any = [{"role": "user", "content": "The printer on floor three is on fire."}]
THROTTLED = Status(status=429, headers={"retry-after-ms": "60000"})


@dataclass
class Notes(NoObserver):
    """An Observer that writes down what it hears."""

    heard: list[tuple[Any, ...]] = field(default_factory=list)

    def call_started(self, call: Call) -> None:
        self.heard.append(("started", call.subscription.name))

    def attempt_failed(self, call: Call, result: str) -> None:
        self.heard.append(("attempt failed", call.member.backend.name, result))

    def cooled(self, member: Member, seconds: float) -> None:
        self.heard.append(("cooled", member.backend.name, round(seconds)))

    def breaker_changed(self, backend: str, state: BreakerState) -> None:
        self.heard.append(("breaker", backend, state))

    def refused(self, error: GatewayError, call: Call | None) -> None:
        self.heard.append(("refused", error.code, call is not None))

    def call_ended(self, call: Call, events: Sequence[UsageEvent]) -> None:
        self.heard.append(("ended", [event.outcome for event in events], call.error and call.error.status))

    def published(self, events: int, lag: float) -> None:
        assert lag >= 0
        self.heard.append(("published", events))

    def lost(self, events: int) -> None:
        self.heard.append(("lost", events))


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
async def gateway(
    simulators: dict[str, Simulator], counter: TokenCounter, notes: Notes
) -> AsyncIterator[RunningGateway]:
    async with run_gateway(simulators, counter, observer=notes) as running:
        yield running


async def ask(gateway: RunningGateway, **options: Any) -> None:
    answer = await gateway.azure().chat.completions.create(model="gpt-4o", messages=HELLO, **options)
    if options.get("stream"):
        async for _ in answer:
            pass


async def test_a_call_from_start_to_its_durable_event(gateway: RunningGateway, notes: Notes) -> None:
    """A call is heard of three times: when it starts, when it is over, when its event is durable."""
    await ask(gateway)
    await gateway.settled(1)
    assert notes.heard == [("started", "team-a"), ("ended", ["completed"], None), ("published", 1)]


async def test_a_failover(gateway: RunningGateway, notes: Notes) -> None:
    """A throttled attempt is heard of with its result and the cooldown that it asked for."""
    await gateway.simulators["first"].inject(THROTTLED)
    await ask(gateway)
    await gateway.settled(1)
    assert notes.heard[1:3] == [("cooled", "first", 60), ("attempt failed", "first", "429")]
    assert ("ended", ["completed"], None) in notes.heard


async def test_a_billed_attempt_is_among_the_events(gateway: RunningGateway, notes: Notes) -> None:
    """A stream that broke before its text, and went on elsewhere, ends with both of its events."""
    await gateway.simulators["first"].inject(Cut(after_chunks=1, times=1))
    await ask(gateway, stream=True)
    await gateway.settled(2)
    assert ("ended", ["upstream_error", "completed"], None) in notes.heard


async def test_refusals_before_and_in_a_call(gateway: RunningGateway, notes: Notes) -> None:
    """A wrong key is a refusal without a call; no backend is one of a call, which ends without an event."""
    async with httpx2.AsyncClient(base_url=gateway.url) as client:
        await client.post("/openai/v1/chat/completions", headers={"api-key": "nobody's"}, json={})
    for simulator in gateway.simulators.values():
        await simulator.inject(THROTTLED)
    with pytest.raises(openai.RateLimitError):
        await ask(gateway)
    assert notes.heard[0] == ("refused", "invalid_api_key", False)
    assert notes.heard[-2:] == [("refused", "rate_limit_exceeded", True), ("ended", [], 429)]


async def test_a_breaker_that_trips(gateway: RunningGateway, notes: Notes) -> None:
    """The failure that trips a backend's breaker is heard of, once."""
    await gateway.simulators["first"].inject(Status(status=500))
    for _ in range(7):
        await ask(gateway)
    assert notes.heard.count(("breaker", "first", "open")) == 1


def test_a_breaker_tells_when_it_changes() -> None:
    """Only the failure that opens a breaker and the answer that closes it say so."""
    breaker = Breaker(BreakerRules(consecutive=2))
    assert [breaker.failed(0), breaker.failed(0), breaker.failed(0)] == [False, True, False]
    breaker.admit(10, 60)
    assert breaker.failed(10)
    breaker.admit(60, 60)
    assert [breaker.succeeded(60), breaker.succeeded(60)] == [True, False]
