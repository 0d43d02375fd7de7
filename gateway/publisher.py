"""Usage events on their way out: durable before a call is done, and never in the caller's way.

Events of calls that end within a few milliseconds of each other share one acknowledgement. While one batch is under
way the next one gathers, so a slow stream makes batches larger, not queues longer.
"""

import asyncio
import logging
from collections import defaultdict
from dataclasses import dataclass

from gateway import usage
from gateway.observer import UNOBSERVED, Observer
from gateway.usage import UsageEvent
from seams.events import EventStream, StreamUnavailable

GATHER_SECONDS = 0.002
PAUSES = (0.1, 0.5, 2.0)
"""Seconds before each further try of a batch."""

MOST_WAITING = 20_000
"""Events; beyond it the stream has been out of reach for long and memory is worth more."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Waiting:
    body: bytes
    key: str
    since: float
    done: asyncio.Future[None]

    def settle(self) -> None:
        if not self.done.done():
            self.done.set_result(None)


class UsagePublisher:
    """`lost` counts the events that no store took; it must read 0, and each is in the log whole."""

    def __init__(self, stream: EventStream, observer: Observer = UNOBSERVED) -> None:
        self._stream = stream
        self._observer = observer
        self._failed_at: float | None = None
        self._waiting: list[_Waiting] = []
        self._sender: asyncio.Task[None] | None = None
        self.lost = 0

    async def publish(self, event: UsageEvent) -> None:
        """Return when the event is durable, or given up and counted as lost. Cancelling it does not take it back."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(usage.encode(event), event.subscription, loop.time(), loop.create_future())
        if len(self._waiting) >= MOST_WAITING:
            self._lose([waiting], "too many events are waiting")
            return
        self._waiting.append(waiting)
        if self._sender is None:
            self._sender = asyncio.create_task(self._send_all())
        await asyncio.shield(waiting.done)

    @property
    def waiting(self) -> int:
        """The events that wait for the next batch."""
        return len(self._waiting)

    def failing_for(self) -> float | None:
        """Return the seconds since the stream last refused a batch; None where it has taken one since."""
        return None if self._failed_at is None else asyncio.get_running_loop().time() - self._failed_at

    async def close(self) -> None:
        """Wait until everything that was taken is durable or lost."""
        if self._sender is not None:
            # Not awaited itself: a time-out around close would cancel it, and the events with it.
            await asyncio.wait([self._sender])

    async def _send_all(self) -> None:
        try:
            await asyncio.sleep(GATHER_SECONDS)
            while self._waiting:
                batch, self._waiting = self._waiting, []
                by_key: defaultdict[str, list[_Waiting]] = defaultdict(list)
                for waiting in batch:
                    by_key[waiting.key].append(waiting)
                await asyncio.gather(*(self._send(key, part) for key, part in by_key.items()))
        finally:
            self._sender = None
            if self._waiting:
                self._lose(self._waiting, "the gateway is stopping")
                self._waiting = []

    async def _send(self, key: str, batch: list[_Waiting]) -> None:
        bodies = [waiting.body for waiting in batch]
        try:
            for pause in (*PAUSES, None):
                try:
                    await self._stream.publish(bodies, key)
                except StreamUnavailable as error:
                    self._failed_at = asyncio.get_running_loop().time()
                    if pause is None:
                        self._lose(batch, str(error))
                        return
                    await asyncio.sleep(pause)
                else:
                    self._failed_at = None
                    self._observer.published(len(batch), asyncio.get_running_loop().time() - batch[0].since)
                    return
        except asyncio.CancelledError:
            self._lose(batch, "the gateway is stopping")
            raise
        except Exception:
            logger.exception("Publishing usage events failed")
            self._lose(batch, "an error of ours")
        finally:
            for waiting in batch:
                waiting.settle()

    def _lose(self, batch: list[_Waiting], why: str) -> None:
        self.lost += len(batch)
        self._observer.lost(len(batch))
        for waiting in batch:
            logger.critical("Usage event lost (%s): %s", why, waiting.body.decode())
            waiting.settle()
