"""What the gateway tells whoever watches it. `hosting` implements it; nothing here waits, stores or can fail a call."""

from collections.abc import Sequence
from typing import Final, Protocol

from gateway.call import Call
from gateway.catalog.catalog import Member
from gateway.errors import GatewayError
from gateway.routing.breaker import BreakerState
from gateway.usage import UsageEvent


class Observer(Protocol):
    """Every method returns at once and raises nothing; what it is given holds prompts and keys that it never keeps."""

    def call_started(self, call: Call) -> None:
        """A request was understood and allowed; `call_ended` follows. May change the trace headers for backends."""
        ...

    def attempt_failed(self, call: Call, result: str) -> None:
        """The latest of `call.tried` gave no usable answer; `result` is a status or one of a few words."""
        ...

    def cooled(self, member: Member, seconds: float) -> None:
        """A member is left alone for so long because of what it answered here."""
        ...

    def breaker_changed(self, backend: str, state: BreakerState) -> None:
        """A backend's breaker was opened, by a trip or a failed probe, or closed."""
        ...

    def refused(self, error: GatewayError, call: Call | None) -> None:
        """The gateway answers with an error of its own; `call` is None where it never became one."""
        ...

    def call_ended(self, call: Call, events: Sequence[UsageEvent]) -> None:
        """A call is over: these are its usage events, not yet durable; none where no backend was at work."""
        ...

    def published(self, events: int, lag: float) -> None:
        """So many usage events are durable; the oldest waited `lag` seconds for it."""
        ...

    def outboxed(self, events: int) -> None:
        """So many usage events went into the outbox because the hub did not take them."""
        ...

    def replayed(self, records: int) -> None:
        """So many records left the outbox for the hub."""
        ...

    def lost(self, events: int) -> None:
        """So many usage events were taken by no store."""
        ...

    def intents_dropped(self, intents: int) -> None:
        """So many intents were not published."""
        ...


class NoObserver:
    """Nobody watches."""

    def call_started(self, call: Call) -> None: ...

    def attempt_failed(self, call: Call, result: str) -> None: ...

    def cooled(self, member: Member, seconds: float) -> None: ...

    def breaker_changed(self, backend: str, state: BreakerState) -> None: ...

    def refused(self, error: GatewayError, call: Call | None) -> None: ...

    def call_ended(self, call: Call, events: Sequence[UsageEvent]) -> None: ...

    def published(self, events: int, lag: float) -> None: ...

    def outboxed(self, events: int) -> None: ...

    def replayed(self, records: int) -> None: ...

    def lost(self, events: int) -> None: ...

    def intents_dropped(self, intents: int) -> None: ...


UNOBSERVED: Final = NoObserver()


def own_event(call: Call, events: Sequence[UsageEvent]) -> UsageEvent | None:
    """Return the event of the call itself; the others are of broken attempts and of responses that it fetched."""
    return next((event for event in events if event.id == call.id), None)
