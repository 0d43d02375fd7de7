"""One connection to an event hub: opened when first needed, lent to one sender at a time, thrown away when in doubt.

What azure-eventhub 5.15 does, by its source, and what is done about it here:

- A send or a connect that is cut off leaves the client half open, and a later send would wait for answers that nobody
  reads any more. So whatever leaves a loan by an exception, a cancellation included, ends the connection.
- `close()` of a client whose handshake never ended returns early ("already closed") and leaves the socket registered
  with the event loop for good; the client that asks for the hub's properties cannot be reached from outside at all.
  So the AMQP clients are noted as they are made, and their sockets are aborted.
- `close()` of a client whose peer has ended the connection drops it without closing its socket. So the socket is
  aborted after every close.
- Nobody reads from a connection between sends. The service ends one that was silent for some minutes, and a firewall
  may drop it without a word: a connection that was idle for long is not trusted.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient
from azure.eventhub.exceptions import EventDataSendError

from seams.clock import Clock
from seams.events import StreamUnavailable

type OpenClient = Callable[[], EventHubProducerClient]
"""Make the SDK's client for one hub; it connects on its first use."""

IDLE_SECONDS: Final = 60.0
CLOSE_SECONDS: Final = 2.0

logger = logging.getLogger(__name__)


class HubConnection:
    """Lends the SDK's client for a hub. Nothing is opened before the first loan."""

    def __init__(self, open_client: OpenClient, clock: Clock) -> None:
        self._open_client = open_client
        self._clock = clock
        self._lock = asyncio.Lock()
        self._client: EventHubProducerClient | None = None
        self._noted: NotedTransport | None = None
        self._used_at = 0.0
        self._closed = False

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[EventHubProducerClient]:
        """Yield the client, to one caller at a time; an exception inside ends the connection.

        Only a batch that the service refused leaves it open: that was an answer.
        Raises StreamUnavailable after `close`.
        """
        async with self._lock:
            if self._closed:
                raise StreamUnavailable("the event stream was closed")
            if self._clock.monotonic() - self._used_at > IDLE_SECONDS:
                self._abort()
            client = self._client or self._connect()
            try:
                yield client
            except EventDataSendError:
                raise
            except BaseException:
                self._abort()
                raise
            self._used_at = self._clock.monotonic()

    async def close(self) -> None:
        """End the connection politely where the peer answers within 2 s, abruptly where it does not."""
        self._closed = True
        async with self._lock:
            try:
                if self._client is not None:
                    async with asyncio.timeout(CLOSE_SECONDS):
                        await self._client.close()
            except Exception as error:  # noqa: BLE001 (the SDK's own clean-up raises what the socket raises)
                logger.debug("event hub connection did not close politely: %r", error)
            finally:
                self._abort()

    def _connect(self) -> EventHubProducerClient:
        self._client = self._open_client()
        self._noted = NotedTransport.install(self._client)
        return self._client

    def _abort(self) -> None:
        if self._noted is not None:
            self._noted.abort()
        self._client = self._noted = None


class NotedTransport:
    """The SDK's factory of AMQP clients, which notes each client that it makes.

    It reaches into azure-eventhub's private parts because there is no public way to a socket whose handshake never
    ended; test_events.py fails where a new version of the SDK moves them.
    """

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._clients: list[Any] = []

    @classmethod
    def install(cls, client: EventHubProducerClient | EventHubConsumerClient) -> "NotedTransport":
        """Note what a client makes from now on; `abort` ends all of it that is still open."""
        noted = cls(client._amqp_transport)  # noqa: SLF001 (see the class)
        for owner in (client, *getattr(client, "_producers", {}).values()):
            owner._amqp_transport = noted  # noqa: SLF001 (see the class)
        return noted

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def create_send_client(self, **options: Any) -> Any:
        return self._note(self._transport.create_send_client(**options))

    def create_receive_client(self, **options: Any) -> Any:
        return self._note(self._transport.create_receive_client(**options))

    def create_mgmt_client(self, *addresses: Any, **options: Any) -> Any:
        return self._note(self._transport.create_mgmt_client(*addresses, **options))

    def abort(self) -> None:
        for client in self._clients:
            if writer := _writer(client):
                writer.transport.abort()
        self._clients.clear()

    def _note(self, client: Any) -> Any:
        # Clients that ended by themselves are let go, so that the list stays short over years.
        self._clients = [known for known in self._clients if known._connection is not None]  # noqa: SLF001 (see the class)
        self._clients.append(client)
        client.close_async = partial(_close_for_good, client, client.close_async)
        return client


async def _close_for_good(client: Any, close: Callable[[], Awaitable[None]]) -> None:
    writer = _writer(client)
    try:
        await close()
    finally:
        if writer:
            writer.transport.abort()


def _writer(client: Any) -> asyncio.StreamWriter | None:
    """Return what an AMQP client writes to, private as it is (see NotedTransport)."""
    connection = client._connection  # noqa: SLF001 (as above)
    writer: asyncio.StreamWriter | None = connection and connection._transport.writer  # noqa: SLF001 (as above)
    return writer
