"""The event stream of a developer's machine: what Event Hubs is on Azure, kept in the state folder."""

import asyncio
import contextlib
import sqlite3
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

from local.events.event_log import PARTITIONS, EventLog, NewEvent, StoredEvent
from seams.clock import Clock, SystemClock
from seams.events import StreamUnavailable

MAX_EVENT_BYTES: Final = 1024 * 1024
COMMIT_SECONDS: Final = 0.005
"""From one commit to the next. A hub on the network takes longer; at once, each call would wake the file's thread."""

_MAX_WAITING_EVENTS: Final = 20_000
_PUBLISH_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.5


class LocalStream:
    """One event hub: an EventStream for the app, and for the host what a trigger reads.

    One thread owns the file. Events that arrive during a commit, or soon after it, go into the next one together.
    `read` and `next_events` know partitions "0" to "3"; sequence numbers start at 0.
    """

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        self.partitions: Final = tuple(str(number) for number in range(PARTITIONS))
        self._path = path
        self._clock = clock or SystemClock()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"events-{path.stem}")
        self._log: EventLog | None = None
        self._waiting: list[tuple[list[NewEvent], asyncio.Future[None]]] = []
        self._waiting_events = 0
        self._committing: asyncio.Task[None] | None = None
        self._commit_at = 0.0
        self._grown = [asyncio.Event() for _ in range(PARTITIONS)]
        self.closed = False

    async def publish(self, bodies: Sequence[bytes], key: str) -> None:
        """Append events of one partition key; they survive a SIGKILL when this returns.

        Raises StreamUnavailable after 10 seconds, at 20,000 waiting events or once closed; ValueError over 1 MB.
        """
        if any(len(body) > MAX_EVENT_BYTES for body in bodies):
            raise ValueError(f"an event holds at most {MAX_EVENT_BYTES} bytes")
        if not bodies:
            return
        if self.closed or self._waiting_events + len(bodies) > _MAX_WAITING_EVENTS:
            raise StreamUnavailable("the stream is closed" if self.closed else "too many events wait to be written")
        partition = zlib.crc32(key.encode()) % PARTITIONS
        committed = asyncio.get_running_loop().create_future()
        self._waiting.append(([NewEvent(partition, key, body) for body in bodies], committed))
        self._waiting_events += len(bodies)
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit_all(), name="local-stream-commit")
        try:
            async with asyncio.timeout(_PUBLISH_SECONDS):
                await committed
        except TimeoutError as error:
            raise StreamUnavailable(f"not written within {_PUBLISH_SECONDS:g} seconds") from error

    async def incarnation(self) -> str:
        """Return the random id that was made with the file. Raises StreamUnavailable."""
        return await self._on_thread(EventLog.incarnation)

    async def ends(self) -> Mapping[str, int]:
        """Return the last sequence number of each partition, -1 where it is empty. Raises StreamUnavailable."""
        numbers = await self._on_thread(EventLog.ends)
        return {str(partition): number for partition, number in numbers.items()}

    async def read(self, partition: str, after: int, limit: int) -> list[StoredEvent]:
        """Return up to `limit` events with sequence numbers above `after`, at once. Raises StreamUnavailable."""
        return await self._on_thread(partial(EventLog.read, partition=int(partition), after=after, limit=limit))

    async def next_events(self, partition: str, after: int, limit: int) -> list[StoredEvent]:
        """Wait until `read` has something to return.

        What this process publishes wakes the reader at once; another process's events are seen by a poll.
        """
        grown = self._grown[int(partition)]
        while True:
            grown.clear()
            if events := await self.read(partition, after, limit):
                return events
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_POLL_SECONDS):
                    await grown.wait()

    async def checkpoint(self, consumer_group: str, partition: str) -> int:
        """Return the last sequence number that the group is done with, or -1."""
        return await self._on_thread(
            partial(EventLog.checkpoint, consumer_group=consumer_group, partition=int(partition))
        )

    async def save_checkpoint(self, consumer_group: str, partition: str, sequence: int) -> None:
        """Note that the group is done with everything up to `sequence`; a checkpoint never goes back."""
        await self._on_thread(
            partial(
                EventLog.save_checkpoint, consumer_group=consumer_group, partition=int(partition), sequence=sequence
            )
        )

    async def close(self) -> None:
        """Write what waits, then close the file; a second call does nothing."""
        if self.closed:
            return
        self.closed = True
        if self._committing is not None:
            await asyncio.gather(self._committing, return_exceptions=True)
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close_file)
        self._thread.shutdown(wait=False)

    async def _commit_all(self) -> None:
        time = asyncio.get_running_loop().time
        try:
            while self._waiting:
                if (pause := self._commit_at - time()) > 0:
                    await asyncio.sleep(pause)
                self._commit_at = time() + COMMIT_SECONDS
                batch, self._waiting = self._waiting, []
                self._waiting_events = 0
                await self._commit(batch)
        finally:
            self._committing = None

    async def _commit(self, batch: list[tuple[list[NewEvent], asyncio.Future[None]]]) -> None:
        events = [event for group, _ in batch for event in group]
        failure: StreamUnavailable | None = None
        try:
            await self._in_file(partial(EventLog.append, events=events, now=self._clock.now()))
        except StreamUnavailable as error:
            failure = error
        for _, committed in batch:
            if committed.done():
                continue
            if failure is None:
                committed.set_result(None)
            else:
                committed.set_exception(failure)
        for partition in {event.partition for event in events}:
            self._grown[partition].set()

    async def _on_thread[T](self, action: Callable[[EventLog], T]) -> T:
        if self.closed:
            raise StreamUnavailable("the stream is closed")
        return await self._in_file(action)

    async def _in_file[T](self, action: Callable[[EventLog], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._act, action)
        except (sqlite3.Error, OSError) as error:
            raise StreamUnavailable(f"{self._path}: {error}") from error

    def _act[T](self, action: Callable[[EventLog], T]) -> T:
        if self._log is None:
            self._log = EventLog(self._path, self._clock.now())
        return action(self._log)

    def _close_file(self) -> None:
        if self._log is not None:
            self._log.close()
            self._log = None


class LocalStreams:
    """The hubs of one state folder; whoever asks for the same hub shares one open stream."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[str, LocalStream] = {}

    def stream(self, hub: str) -> LocalStream:
        stream = self._open.get(hub)
        if stream is None or stream.closed:
            stream = self._open[hub] = LocalStream(self._folder / f"events-{hub}.sqlite")
        return stream
