"""Everybody who watches the gateway, told one after the other; none of them can fail a call."""

import logging
from collections.abc import Sequence
from typing import Final

from gateway.call import Call
from gateway.catalog.catalog import Member
from gateway.errors import GatewayError
from gateway.observer import Observer
from gateway.routing.breaker import BreakerState
from gateway.usage import UsageEvent

_log: Final = logging.getLogger(__name__)


class Observers:
    """An Observer made of others; one that is added later sees the later halves of calls under way, too."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = list(observers)

    def add(self, observer: Observer) -> None:
        self._observers.append(observer)

    def call_started(self, call: Call) -> None:
        self._tell("call_started", call)

    def attempt_failed(self, call: Call, result: str) -> None:
        self._tell("attempt_failed", call, result)

    def cooled(self, member: Member, seconds: float) -> None:
        self._tell("cooled", member, seconds)

    def breaker_changed(self, backend: str, state: BreakerState) -> None:
        self._tell("breaker_changed", backend, state)

    def refused(self, error: GatewayError, call: Call | None) -> None:
        self._tell("refused", error, call)

    def call_ended(self, call: Call, events: Sequence[UsageEvent]) -> None:
        self._tell("call_ended", call, events)

    def published(self, events: int, lag: float) -> None:
        self._tell("published", events, lag)

    def outboxed(self, events: int) -> None:
        self._tell("outboxed", events)

    def replayed(self, records: int) -> None:
        self._tell("replayed", records)

    def lost(self, events: int) -> None:
        self._tell("lost", events)

    def intents_dropped(self, intents: int) -> None:
        self._tell("intents_dropped", intents)

    def _tell(self, what: str, *arguments: object) -> None:
        for observer in self._observers:
            try:
                getattr(observer, what)(*arguments)
            except Exception:  # noqa: BLE001 - whatever a watcher raises, the call goes on
                _log.exception("%s could not take note of %s", type(observer).__name__, what)
