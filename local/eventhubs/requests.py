"""Links to `$cbs` and `$management`: a peer sends requests on one and reads the answers on another.

An answer goes to the link whose target the request names in `reply-to`; a peer that names none has one such link.
"""

import asyncio
from collections import deque
from typing import Any, Final, NamedTuple

from local.eventhubs.addresses import Node
from local.eventhubs.answers import accepted
from local.eventhubs.decoding import decode, skip
from local.eventhubs.encoding import EMPTY_LIST, NULL
from local.eventhubs.errors import NOT_ALLOWED, Malformed, Refused
from local.eventhubs.links import Credit, Incoming, Outlet, Owned
from local.eventhubs.messages import APPLICATION_PROPERTIES, DATA, PROPERTIES, VALUE, reply, sections
from local.eventhubs.nodes import Answer, put_token, read_properties
from local.eventhubs.performatives import Flow, Transfer

MAX_REPLIES: Final = 100
_REPLY_TO_FIELD: Final = 4


class Request(NamedTuple):
    """`message_id` is still encoded: it may be of four types, and its echo is of the same."""

    message_id: bytes
    reply_to: str
    properties: dict[Any, Any]
    body: Any


class ReplyLink:
    """A peer reads answers here."""

    def __init__(self, outlet: Outlet, handle: int, node: Node, address: str) -> None:
        self.node: Final = node
        self.address: Final = address
        self._outlet = outlet
        self._handle = handle
        self._credit = Credit()
        self._waiting: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._work: Owned | None = None

    def open(self) -> None:
        self._work = self._outlet.own(self._serve())

    def put(self, message: bytes) -> None:
        """Queue an answer. Raises Refused where the peer has stopped to read them."""
        if len(self._waiting) >= MAX_REPLIES:
            raise Refused(NOT_ALLOWED, f"{MAX_REPLIES} answers wait to be read.")
        self._waiting.append(message)
        self._wake.set()

    def on_flow(self, flow: Flow) -> None:
        self._credit.on_flow(flow)
        self._wake.set()

    def close(self) -> None:
        if self._work is not None:
            self._work.cancel()

    async def _serve(self) -> None:
        while True:
            self._wake.clear()
            while self._waiting and self._credit.left:
                await self._outlet.broker.trouble.silence_over()
                await self._outlet.deliver(self._handle, self._waiting.popleft())
                self._credit.use()
            if self._credit.drain:
                self._credit.use_up()
                self._outlet.send(self._outlet.flow(self._handle, self._credit.count, 0))
            await self._wake.wait()


class Replies:
    """The reply links of one connection."""

    def __init__(self) -> None:
        self._links: list[ReplyLink] = []

    def add(self, link: ReplyLink) -> None:
        self._links.append(link)

    def remove(self, link: ReplyLink) -> None:
        self._links = [each for each in self._links if each is not link]

    def find(self, node: Node, reply_to: str) -> ReplyLink | None:
        """Return where the answer to a request at a node goes: by address, else the node's latest link."""
        of_node = [each for each in self._links if each.node == node]
        named = [each for each in of_node if reply_to and each.address == reply_to]
        return next(reversed(named or of_node), None)


class RequestLink:
    """A peer sends requests here."""

    def __init__(self, outlet: Outlet, handle: int, node: Node, replies: Replies) -> None:
        self._outlet = outlet
        self._node = node
        self._replies = replies
        self._incoming = Incoming(outlet, handle)

    def open(self) -> None:
        self._incoming.grant()

    def on_flow(self, flow: Flow) -> None:
        if flow.echo:
            self._incoming.report()

    def on_transfer(self, transfer: Transfer, payload: bytes) -> None:
        message = self._incoming.add(transfer, payload)
        if message is None:
            return
        if message.delivery_id is not None:
            self._outlet.send(accepted(message.delivery_id))
        request = request_of(message.body)
        answer = self._answer(request)
        link = self._replies.find(self._node, request.reply_to)
        if link is not None:
            link.put(reply(request.message_id, answer.status, answer.text, answer.body))
        self._incoming.grant()

    def close(self) -> None:
        """Nothing is kept that outlives the link."""

    def _answer(self, request: Request) -> Answer:
        broker = self._outlet.broker
        if self._node.name == "$management":
            return read_properties(request.properties, broker)
        answer = put_token(request.body, broker.key, broker.clock.now().timestamp())
        if answer.status == 202:
            self._outlet.authorize()
        return answer


def request_of(message: bytes) -> Request:
    """Read a request. Raises Malformed."""
    message_id, reply_to, body = NULL, "", None
    properties: dict[Any, Any] = {}
    for section in sections(message):
        value, _ = decode(message, section.value_at)
        if section.code == PROPERTIES:
            message_id = _first_item(message[section.value_at : section.end])
            fields = value if isinstance(value, list) else []
            named = fields[_REPLY_TO_FIELD] if len(fields) > _REPLY_TO_FIELD else None
            reply_to = named if isinstance(named, str) else ""
        elif section.code == APPLICATION_PROPERTIES and isinstance(value, dict):
            properties = value
        elif section.code in (DATA, VALUE):
            body = value
    return Request(message_id, reply_to, properties, body)


def _first_item(encoded: bytes) -> bytes:
    """Return the first item of an encoded list as it stands."""
    if encoded == EMPTY_LIST:
        return NULL
    if encoded[0] not in (0xC0, 0xD0):
        raise Malformed("a message's properties are a list")
    at = 3 if encoded[0] == 0xC0 else 9
    return encoded[at : skip(encoded, at)] if at < len(encoded) else NULL
