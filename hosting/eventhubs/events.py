"""Event Hubs as the event stream: unbuffered batches of one partition key, acknowledged before `publish` returns.

What azure-eventhub 5.15 does, by its source, and what is done about it here:

- Its time-outs do not cover the handshake: a server that accepts and says nothing holds a send for good. So a time-out
  of our own surrounds every call, and an attempt gets half of it, so that a dead connection can be replaced in time.
- A batch that was refused is sent once more at once and after asking for the hub's partitions, whatever `retry_total`
  says; throttling outlasts that. So `retry_total` is 0, and the attempts and their pauses are ours.
- One client sends one batch at a time and waits for its acknowledgement. So there are a few connections, and a
  partition key always takes the same one, which keeps its events in order.

An attempt whose acknowledgement was lost is repeated, so an event may be kept twice: readers go by the event's own id.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from itertools import batched
from typing import Any, Final, Self
from zlib import crc32

from azure.core.credentials_async import AsyncTokenCredential
from azure.eventhub.aio import EventHubProducerClient
from azure.eventhub.exceptions import AuthenticationError

from hosting.eventhubs.event_batches import fill
from hosting.eventhubs.hub_connection import HubConnection, OpenClient
from seams.clock import Clock
from seams.events import EventStream, StreamUnavailable

MAX_EVENT_BYTES: Final = 1_000_000
"""The seam's limit for one event. The hub's own, for a batch: 1 MiB in the Standard tier, 256 KiB in Basic."""

CONNECTIONS: Final = 4
_QUESTIONS_AT_ONCE: Final = 8
PAUSES_SECONDS: Final = (0.1, 0.5, 2.0)
"""Between attempts, stretched by up to half at random; a throttled namespace asks for some seconds."""

RETRY_NOTHING: Final[Mapping[str, Any]] = {"retry_total": 0, "retry_backoff_factor": 0}
"""The SDK pauses before it gives up, too, unless the factor is 0."""

logger = logging.getLogger(__name__)


class EventHubStream(EventStream):
    """An event hub. `timeout_seconds` bounds each call from beginning to end; `jitter` returns 0 to 1."""

    def __init__(
        self,
        open_client: OpenClient,
        *,
        hub: str,
        timeout_seconds: float,
        clock: Clock,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._hub = hub
        self._timeout = timeout_seconds
        self._jitter = jitter
        self._connections = [HubConnection(open_client, clock) for _ in range(CONNECTIONS)]
        # Events never wait for the answer to a question.
        self._asking = HubConnection(open_client, clock)

    @classmethod
    def by_connection_string(cls, connection_string: str, hub: str, *, timeout_seconds: float, clock: Clock) -> Self:
        """Reach the hub by a key; `UseDevelopmentEmulator=true` means plain TCP at the endpoint's own port.

        Raises ValueError where the SDK cannot read the connection string.
        """

        def open_client() -> EventHubProducerClient:
            return EventHubProducerClient.from_connection_string(
                connection_string, eventhub_name=hub, auth_timeout=timeout_seconds, **RETRY_NOTHING
            )

        open_client()  # nothing connects yet; a malformed string stops the start instead of the first request
        return cls(open_client, hub=hub, timeout_seconds=timeout_seconds, clock=clock)

    @classmethod
    def by_identity(
        cls, namespace: str, credential: AsyncTokenCredential, hub: str, *, timeout_seconds: float, clock: Clock
    ) -> Self:
        """Reach the hub by identity, with the role "Azure Event Hubs Data Sender".

        `namespace` is the host name, like contoso.servicebus.windows.net; the credential stays its owner's to close.
        """

        def open_client() -> EventHubProducerClient:
            return EventHubProducerClient(namespace, hub, credential, auth_timeout=timeout_seconds, **RETRY_NOTHING)

        return cls(open_client, hub=hub, timeout_seconds=timeout_seconds, clock=clock)

    async def publish(self, bodies: Sequence[bytes], key: str) -> None:
        """See EventStream. Events that do not fit into one batch go in several, in order.

        Where a later batch fails, the earlier ones are kept.
        """
        if any(len(body) > MAX_EVENT_BYTES for body in bodies):
            raise ValueError(f"an event holds at most {MAX_EVENT_BYTES} bytes")
        unsent = deque(bodies)
        connection = self._connections[crc32(key.encode()) % CONNECTIONS]
        await self._persist("publish", partial(self._send, connection, unsent, key))
        if unsent:
            raise ValueError(f"an event of {len(unsent[0])} bytes does not fit into a batch of event hub {self._hub}")

    async def incarnation(self) -> str:
        """See EventStream: the hub's name and the millisecond of its creation, fit for a table key."""
        return await self._persist("read the hub's properties", self._created)

    async def partitions(self) -> Sequence[str]:
        """Return the ids of the hub's partitions. Raises StreamUnavailable."""
        return await self._persist("read the hub's partitions", self._partition_ids)

    async def ends(self) -> Mapping[str, int]:
        """See EventStream. One question for each partition, and the SDK opens a connection for each.

        The time-out is for some at once: there may be more than any one time-out suffices for.
        """
        ends: dict[str, int] = {}
        for some in batched(await self.partitions(), _QUESTIONS_AT_ONCE, strict=False):
            ends |= await self._persist("read the partitions' properties", partial(self._last_numbers, some))
        return ends

    async def close(self) -> None:
        await asyncio.gather(*(connection.close() for connection in (*self._connections, self._asking)))

    async def _send(self, connection: HubConnection, unsent: deque[bytes], key: str) -> None:
        """Send and take off `unsent` until it is empty or its first event does not fit into any batch."""
        async with connection.lend() as client:
            while unsent:
                batch = await client.create_batch(partition_key=key)
                count = fill(batch, unsent)
                if not count:
                    return
                await client.send_batch(batch)
                for _ in range(count):
                    unsent.popleft()

    async def _created(self) -> str:
        async with self._asking.lend() as client:
            properties = await client.get_eventhub_properties()
        return f"{properties['eventhub_name']}-{round(properties['created_at'].timestamp() * 1000)}"

    async def _partition_ids(self) -> Sequence[str]:
        async with self._asking.lend() as client:
            return await client.get_partition_ids()

    async def _last_numbers(self, partitions: Sequence[str]) -> dict[str, int]:
        ends: dict[str, int] = {}
        async with self._asking.lend() as client:
            answers = await asyncio.gather(*map(client.get_partition_properties, partitions), return_exceptions=True)
            for partition, answer in zip(partitions, answers, strict=True):
                if isinstance(answer, BaseException):
                    raise answer
                ends[partition] = int(answer["last_enqueued_sequence_number"])
        return ends

    async def _persist[T](self, aim: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """Attempt until it succeeds, the attempts or the time are used up, or the hub refuses us."""
        fault: Exception = TimeoutError()
        pauses = iter(PAUSES_SECONDS)
        try:
            async with asyncio.timeout(self._timeout):
                while True:
                    try:
                        async with asyncio.timeout(self._timeout / 2):
                            return await attempt()
                    except StreamUnavailable:
                        raise
                    except Exception as error:  # noqa: BLE001 (nonsense from a peer surfaces as struct.error and the like)
                        fault = error
                    logger.warning("event hub %s: cannot %s: %s", self._hub, aim, _in_words(fault))
                    pause = next(pauses, None)
                    if pause is None or isinstance(fault, AuthenticationError):
                        break
                    await asyncio.sleep(pause * (1 + self._jitter() / 2))
        except TimeoutError:
            pass  # the last attempt's fault says more
        raise StreamUnavailable(f"event hub {self._hub}: cannot {aim}: {_in_words(fault)}") from fault


def _in_words(fault: Exception) -> str:
    return " ".join(f"{type(fault).__name__}: {str(fault) or 'no answer in time'}".split())[:300]
