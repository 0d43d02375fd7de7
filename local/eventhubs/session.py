"""A session (2.5): the links of one channel, and how many transfers the peer lets in.

Our handles and channels are the peer's own numbers again.
"""

import asyncio
from collections.abc import Coroutine
from typing import Final, Protocol

from local.eventhubs.addresses import Node, parse
from local.eventhubs.answers import attach, attach_refused, detach, error, flow, transfer
from local.eventhubs.broker import Broker
from local.eventhubs.delivery import DeliveryLink, wanted_by
from local.eventhubs.errors import DECODE, NOT_ALLOWED, RESOURCE_LIMIT, UNAUTHORIZED, Malformed, Refused, Violation
from local.eventhubs.frames import HEAD_BYTES
from local.eventhubs.intake import IntakeLink
from local.eventhubs.links import Owned
from local.eventhubs.messages import MAX_MESSAGE_BYTES
from local.eventhubs.performatives import Attach, Begin, Detach, Flow, Transfer
from local.eventhubs.requests import Replies, ReplyLink, RequestLink
from local.eventhubs.wire import Wire

MAX_LINKS: Final = 64
_NUMBERS: Final = 2**32

type AnyLink = IntakeLink | DeliveryLink | RequestLink | ReplyLink


class Owner(Protocol):
    """The connection, as far as its sessions use it."""

    broker: Broker
    wire: Wire
    replies: Replies
    authorized: bool

    def own(self, work: Coroutine[None, None, None]) -> Owned: ...

    def later(self, seconds: float, channel: int, performative: bytes) -> None: ...


class Session:
    """One channel. Raises Violation from what the peer may not do; a link's own faults only detach it."""

    def __init__(self, owner: Owner, channel: int, begin: Begin) -> None:
        self.broker: Broker = owner.broker
        self._owner = owner
        self._channel = channel
        self._links: dict[int, AnyLink] = {}
        self._next_incoming = begin.next_outgoing_id
        self._next_outgoing = 0
        self._next_delivery = 0
        self._window = begin.incoming_window
        self._opened = asyncio.Event()

    def on_attach(self, asked: Attach) -> None:
        if asked.handle in self._links or len(self._links) >= MAX_LINKS:
            raise Violation(RESOURCE_LIMIT, f"handle {asked.handle} is in use, or {MAX_LINKS} links are open")
        try:
            link = self._link(asked)
        except Refused as refused:
            self.send(attach_refused(asked, max_message=MAX_MESSAGE_BYTES))
            self.send(detach(asked.handle, error(refused.condition, refused.description)))
            return
        self._links[asked.handle] = link
        self.send(attach(asked, max_message=MAX_MESSAGE_BYTES))
        link.open()

    def on_flow(self, given: Flow) -> None:
        self._window = ((given.next_incoming_id or 0) + given.incoming_window - self._next_outgoing) % _NUMBERS
        self._opened.set()
        if given.handle is None:
            return
        if (link := self._links.get(given.handle)) is not None:
            link.on_flow(given)

    def on_transfer(self, given: Transfer, payload: bytes) -> None:
        self._next_incoming = (self._next_incoming + 1) % _NUMBERS
        link = self._links.get(given.handle)
        if link is None:
            return  # sent before the peer knew that the link was detached
        if isinstance(link, DeliveryLink | ReplyLink):
            self.refuse(given.handle, Refused(NOT_ALLOWED, "The peer receives on this link."))
            return
        try:
            link.on_transfer(given, payload)
        except Malformed as malformed:
            self.refuse(given.handle, Refused(DECODE, str(malformed)))
        except Refused as refused:
            self.refuse(given.handle, refused)

    def on_detach(self, given: Detach) -> None:
        if self._drop(given.handle):
            self.send(detach(given.handle))

    def close(self) -> None:
        for handle in tuple(self._links):
            self._drop(handle)

    def send(self, performative: bytes) -> None:
        self._owner.wire.send_frame(self._channel, performative)

    def flow(self, handle: int, delivery_count: int, credit: int) -> bytes:
        return flow(
            next_incoming=self._next_incoming,
            next_outgoing=self._next_outgoing,
            handle=handle,
            delivery_count=delivery_count,
            credit=credit,
        )

    async def deliver(self, handle: int, message: bytes) -> None:
        delivery, self._next_delivery = self._next_delivery, (self._next_delivery + 1) % _NUMBERS
        wire = self._owner.wire
        room = wire.max_frame - HEAD_BYTES - len(transfer(handle, delivery, more=True))
        for at in range(0, len(message), room):
            while not 0 < self._window < _NUMBERS // 2:
                self._opened.clear()
                await self._opened.wait()
            self._window -= 1
            self._next_outgoing = (self._next_outgoing + 1) % _NUMBERS
            self.send(transfer(handle, delivery, more=at + room < len(message)) + message[at : at + room])
            await wire.drain()

    def refuse(self, handle: int, refused: Refused) -> None:
        if self._drop(handle):
            self.send(detach(handle, error(refused.condition, refused.description)))

    def cut(self) -> None:
        self._owner.wire.abort()

    def later(self, seconds: float, performative: bytes) -> None:
        self._owner.later(seconds, self._channel, performative)

    def own(self, work: Coroutine[None, None, None]) -> Owned:
        return self._owner.own(work)

    def authorize(self) -> None:
        self._owner.authorized = True

    def _link(self, asked: Attach) -> AnyLink:
        """Return the link that a peer asks for. Raises Refused."""
        place = parse(asked.source_address if asked.receives else asked.target_address)
        if isinstance(place, Node):
            return self._node_link(asked, place)
        if not self._owner.authorized:
            raise Refused(UNAUTHORIZED, "Unauthorized access. 'Send' or 'Listen' claims need a token put to $cbs.")
        hub = self.broker.hub(place)
        if asked.receives:
            return DeliveryLink(self, asked.handle, hub, wanted_by(asked, place))
        if place.group is not None:
            raise Refused(NOT_ALLOWED, "Nothing can be sent to a consumer group.")
        return IntakeLink(self, asked.handle, hub, place.partition)

    def _node_link(self, asked: Attach, node: Node) -> RequestLink | ReplyLink:
        if not asked.receives:
            return RequestLink(self, asked.handle, node, self._owner.replies)
        link = ReplyLink(self, asked.handle, node, asked.target_address)
        self._owner.replies.add(link)
        return link

    def _drop(self, handle: int) -> bool:
        link = self._links.pop(handle, None)
        if link is None:
            return False
        link.close()
        if isinstance(link, ReplyLink):
            self._owner.replies.remove(link)
        return True
