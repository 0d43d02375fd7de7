"""What a link is to its session, and what links of each direction have in common.

Credit counts whole messages, per link (2.6.7); a message longer than a frame comes and goes in several transfers
(2.6.14), which the session's window counts (2.5.6).
"""

from collections.abc import Coroutine
from typing import Final, NamedTuple, Protocol

from local.eventhubs.broker import Broker
from local.eventhubs.errors import TOO_LARGE, Refused
from local.eventhubs.messages import MAX_MESSAGE_BYTES
from local.eventhubs.performatives import Flow, Transfer

CREDIT: Final = 300
"""Messages that a peer may send before the next flow, as on the service."""

_COUNT: Final = 2**32


class Outlet(Protocol):
    """A session, as far as its links use it."""

    broker: Broker

    def send(self, performative: bytes) -> None: ...

    def flow(self, handle: int, delivery_count: int, credit: int) -> bytes:
        """Return the link's flow, with the session's own state in it."""
        ...

    async def deliver(self, handle: int, message: bytes) -> None:
        """Send a message once the session's window lets it through."""
        ...

    def refuse(self, handle: int, refused: Refused) -> None:
        """Detach a link with the reason."""
        ...

    def cut(self) -> None:
        """End the whole connection without a word."""
        ...

    def later(self, seconds: float, performative: bytes) -> None:
        """Send after some time, unless the connection has ended by then."""
        ...

    def own(self, work: Coroutine[None, None, None]) -> "Owned":
        """Run until it ends by itself or with the connection."""
        ...

    def authorize(self) -> None: ...


class Owned(Protocol):
    def cancel(self) -> object: ...


class Message(NamedTuple):
    """A whole message; `delivery_id` is None where the peer wants no disposition."""

    delivery_id: int | None
    format: int
    body: bytes


class Incoming:
    """What a peer sends on one link: transfers put together, credit given anew."""

    def __init__(self, outlet: Outlet, handle: int) -> None:
        self._outlet = outlet
        self._handle = handle
        self._parts: list[bytes] = []
        self._size = 0
        self._first: Transfer | None = None
        self._count = 0
        self._credit = 0

    def grant(self) -> None:
        """Give credit where half of it is used up."""
        if self._credit <= CREDIT // 2:
            self._credit = CREDIT
            self.report()

    def report(self) -> None:
        self._outlet.send(self._outlet.flow(self._handle, self._count, self._credit))

    def add(self, transfer: Transfer, payload: bytes) -> Message | None:
        """Return the message that this transfer completes, if it does. Raises Refused for one that is too large."""
        if transfer.aborted:
            self._reset()
            return None
        self._first = self._first or transfer
        self._parts.append(payload)
        self._size += len(payload)
        if self._size > MAX_MESSAGE_BYTES:
            size = self._size
            self._reset()
            raise Refused(
                TOO_LARGE,
                f"The received message (size:{size} bytes or more) exceeds the limit ({MAX_MESSAGE_BYTES} bytes)"
                " currently allowed on the link.",
            )
        if transfer.more:
            return None
        first = self._first
        message = Message(
            None if first.settled else first.delivery_id, first.message_format or 0, b"".join(self._parts)
        )
        self._reset()
        self._count = (self._count + 1) % _COUNT
        self._credit -= 1
        return message

    def _reset(self) -> None:
        self._parts, self._size, self._first = [], 0, None


class Credit:
    """How many messages a peer still wants on a link, by its flows."""

    def __init__(self) -> None:
        self.count = 0
        self.left = 0
        self.drain = False

    def on_flow(self, flow: Flow) -> None:
        limit = (flow.delivery_count or 0) + (flow.link_credit or 0)
        left = (limit - self.count) % _COUNT
        # A limit behind what was sent already is a number just below zero.
        self.left = left if left < _COUNT // 2 else 0
        self.drain = bool(flow.drain)

    def use(self) -> None:
        self.count = (self.count + 1) % _COUNT
        self.left -= 1

    def use_up(self) -> None:
        """Act as if all that was wanted had been sent, which is how a drained link answers."""
        self.count = (self.count + self.left) % _COUNT
        self.left = 0
        self.drain = False
