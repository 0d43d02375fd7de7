"""A link on which a peer publishes events, to a hub or to one of its partitions."""

from typing import Final

from local.eventhubs.answers import accepted, rejected
from local.eventhubs.errors import SERVER_BUSY
from local.eventhubs.hubs import Hub
from local.eventhubs.links import Incoming, Message, Outlet
from local.eventhubs.messages import Published, published
from local.eventhubs.performatives import Flow, Transfer


class IntakeLink:
    """Events are on disk before their acknowledgement leaves, whatever the faults do to it."""

    def __init__(self, outlet: Outlet, handle: int, hub: Hub, partition: int | None) -> None:
        self._outlet: Final = outlet
        self._hub = hub
        self._partition = partition
        self._incoming = Incoming(outlet, handle)

    def open(self) -> None:
        self._incoming.grant()

    def on_flow(self, flow: Flow) -> None:
        if flow.echo:
            self._incoming.report()

    def on_transfer(self, transfer: Transfer, payload: bytes) -> None:
        message = self._incoming.add(transfer, payload)
        if message is not None:
            self._take(message, published(message.body, message.format))
            self._incoming.grant()

    def close(self) -> None:
        """Nothing is kept that outlives the link."""

    def _take(self, message: Message, events: Published) -> None:
        broker = self._outlet.broker
        faults = broker.trouble.faults
        if broker.trouble.hits(faults.busy):
            broker.counts.busy_answers += 1
            self._answer(message, rejected(message.delivery_id or 0, SERVER_BUSY, "The server was busy, as was asked."))
            return
        self._hub.append(events, self._partition)
        broker.counts.batches_in += 1
        broker.counts.events_in += len(events.events)
        if broker.trouble.hits(faults.deaths):
            broker.die()
        elif broker.trouble.hits(faults.drop_acks):
            broker.counts.acks_dropped += 1
            self._outlet.cut()
        else:
            self._answer(message, accepted(message.delivery_id or 0), faults.latency_seconds)

    def _answer(self, message: Message, disposition: bytes, seconds: float = 0.0) -> None:
        if message.delivery_id is None:
            return
        if seconds:
            self._outlet.later(seconds, disposition)
        else:
            self._outlet.send(disposition)
