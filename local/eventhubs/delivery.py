"""A link on which a peer receives a partition's events, from its starting point on, as long as it gives credit."""

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from local.eventhubs.addresses import Place, Selector, parse_selector
from local.eventhubs.decoding import Described
from local.eventhubs.errors import ARGUMENT, NOT_FOUND, Refused
from local.eventhubs.hubs import Hub
from local.eventhubs.links import Credit, Outlet, Owned
from local.eventhubs.messages import delivered
from local.eventhubs.ownership import EPOCH, Receiver
from local.eventhubs.performatives import Attach, Flow

RUNTIME_METRIC: Final = "com.microsoft:enable-receiver-runtime-metric"
_FILTER_FIELD: Final = 7


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a receiver asked for. `level` is its owner level, `metric` whether it wants to know the partition's end."""

    partition: int
    group: str
    selector: Selector | None
    level: int | None
    metric: bool


class DeliveryLink:
    """Begins where it was asked to, and holds its place in the ownership of the partition until it is closed."""

    def __init__(self, outlet: Outlet, handle: int, hub: Hub, wanted: Wanted) -> None:
        """Raises Refused where another receiver excludes this one, and for a place that does not exist."""
        self._outlet = outlet
        self._handle = handle
        self._hub = hub
        self._wanted = wanted
        self._credit = Credit()
        self._wake = asyncio.Event()
        self._work: Owned | None = None
        self._next = hub.start_of(wanted.partition, wanted.selector)
        self._receiver = Receiver(wanted.level, lambda refused: outlet.refuse(handle, refused))
        hub.ownership.enter(wanted.partition, wanted.group, self._receiver)

    def open(self) -> None:
        self._work = self._outlet.own(self._serve())

    def on_flow(self, flow: Flow) -> None:
        self._credit.on_flow(flow)
        self._wake.set()

    def close(self) -> None:
        self._hub.ownership.leave(self._wanted.partition, self._wanted.group, self._receiver)
        if self._work is not None:
            self._work.cancel()

    async def _serve(self) -> None:
        with self._hub.watching(self._wanted.partition, self._wake):
            while True:
                self._wake.clear()
                if not await self._send_some():
                    self._answer_drain()
                    await self._wake.wait()

    async def _send_some(self) -> bool:
        """Send what there is and is wanted, up to a bound; tell whether that was anything."""
        if not self._credit.left:
            return False
        partition, broker = self._wanted.partition, self._outlet.broker
        events = self._hub.read(partition, self._next, self._credit.left)
        extent = self._hub.extent(partition) if self._wanted.metric and events else None
        for event in events:
            if not self._credit.left:
                break
            await broker.trouble.silence_over()
            await self._outlet.deliver(self._handle, delivered(event, extent, self._hub.now_ms()))
            self._credit.use()
            self._next = event.sequence + 1
            broker.counts.events_out += 1
        return bool(events)

    def _answer_drain(self) -> None:
        if self._credit.drain:
            self._credit.use_up()
            self._outlet.send(self._outlet.flow(self._handle, self._credit.count, 0))


def wanted_by(attach: Attach, place: Place) -> Wanted:
    """Read what a receiver asks for. Raises Refused."""
    if place.partition is None or place.group is None:
        raise Refused(NOT_FOUND, "A receiver names a partition and a consumer group.")
    desired = attach.desired_capabilities
    capabilities = desired if isinstance(desired, list) else [desired]
    return Wanted(
        place.partition, place.group, _selector(attach.source), _level(attach), metric=RUNTIME_METRIC in capabilities
    )


def _selector(source: Any) -> Selector | None:
    """Read the source's filter set (3.5.3, 3.5.8); Event Hubs' is `apache.org:selector-filter:string`."""
    fields = source.value if isinstance(source, Described) and isinstance(source.value, list) else []
    filters = fields[_FILTER_FIELD] if len(fields) > _FILTER_FIELD else None
    if not isinstance(filters, dict):
        return None
    for value in filters.values():
        text = value.value if isinstance(value, Described) else value
        return parse_selector(text.decode(errors="replace") if isinstance(text, bytes) else str(text))
    return None


def _level(attach: Attach) -> int | None:
    level = (attach.properties or {}).get(EPOCH)
    if level is not None and not isinstance(level, int):
        raise Refused(ARGUMENT, f"{EPOCH} is a number.")
    return level
