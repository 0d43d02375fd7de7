"""Jobs as events of the hub `jobs`: names that we handed over ourselves, and whole jobs of other producers.

A whole job is what POST /jobs takes, with `id` and `subscription`. It is believed where the operator says that none but
internal producers can send to the hub; else it has a `key` of the subscription, which is checked and then forgotten.
"""

import json
from typing import Annotated, Any, Final, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from enrichment.jobs.job import JobName
from enrichment.jobs.order import JobBody, Order
from enrichment.requests.faults import fault_of
from seams.events import ReceivedEvent

LONGEST_KEY: Final = 4096


class EventImpossible(Exception):
    """An event that is no job; the message says why, and repeats nothing of it."""


class KeyHolders(Protocol):
    async def holder(self, key: str) -> str | None:
        """Return the name of the subscription that this key belongs to; None for nobody's and an operator's.

        Raises TableUnavailable where that cannot be found out now.
        """
        ...


class _Handed(BaseModel):
    """What JobQueue publishes."""

    model_config = ConfigDict(extra="forbid")

    job: str
    subscription: str


_ENVELOPE: Final = frozenset({"id", "subscription", "key"})


class _Envelope(BaseModel):
    id: str
    subscription: str = ""
    key: Annotated[str, Field(max_length=LONGEST_KEY, repr=False)] = ""


class JobEvents:
    """`trusted` says that the hub's producers are internal."""

    def __init__(self, holders: KeyHolders, *, trusted: bool) -> None:
        self._holders = holders
        self._trusted = trusted

    async def read(self, event: ReceivedEvent) -> JobName | Order:
        """Return a job's name, or the job to make. Raises EventImpossible, TableUnavailable."""
        told = _object(event.body)
        try:
            if "job" in told:
                handed = _Handed.model_validate(told)
                return JobName.checked(handed.subscription, handed.job)
            envelope = _Envelope.model_validate(told)
            subscription = await self._subscription(envelope)
            name = JobName.checked(subscription, envelope.id)
            body = JobBody.model_validate({field: told[field] for field in told if field not in _ENVELOPE})
        except ValidationError as error:
            raise EventImpossible(_reason(error)) from None
        except ValueError as error:
            raise EventImpossible(str(error)) from None
        return Order.of(name, told, body)

    async def _subscription(self, envelope: _Envelope) -> str:
        if not envelope.key:
            if self._trusted:
                return envelope.subscription
            raise EventImpossible("the event has no key, and the hub's producers are not trusted")
        holder = await self._holders.holder(envelope.key)
        if holder is None:
            raise EventImpossible("the event's key is no subscription's")
        if envelope.subscription not in ("", holder):
            raise EventImpossible("the event's key is another subscription's")
        return holder


def _object(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body.decode())
    except (ValueError, RecursionError):
        raise EventImpossible("the event is not JSON in UTF-8") from None
    if not isinstance(told, dict):
        raise EventImpossible("the event is not a JSON object")
    return told


def _reason(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    return str(fault_of(first, first["loc"]))
