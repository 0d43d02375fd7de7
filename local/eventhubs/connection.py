"""An AMQP connection (2.4), from the protocol header to its end, whatever the peer does.

The way in is the SDKs': SASL first, with any mechanism, since tokens come later to `$cbs`; then open, begin, attach.
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Final

from local.eventhubs.answers import begin, close, end, error, open_, sasl_mechanisms, sasl_ok
from local.eventhubs.broker import Broker
from local.eventhubs.errors import NOT_ALLOWED, RESOURCE_LIMIT, Violation
from local.eventhubs.frames import AMQP_HEADER, MAX_FRAME_BYTES, SASL_FRAME, SASL_HEADER
from local.eventhubs.links import Owned
from local.eventhubs.performatives import CHANNEL_MAX, Attach, Begin, Detach, Flow, Open, Transfer, performative_of
from local.eventhubs.requests import Replies
from local.eventhubs.session import Session
from local.eventhubs.wire import IDLE_SECONDS, Wire

HANDSHAKE_SECONDS: Final = 20.0
MAX_SESSIONS: Final = 64
MAX_LATE: Final = 10_000

_log: Final = logging.getLogger(__name__)


class Connection:
    """One peer. What it holds is bounded: frames, sessions, links, unread answers, waiting acknowledgements."""

    def __init__(self, broker: Broker, wire: Wire) -> None:
        self.broker: Broker = broker
        self.wire: Wire = wire
        self.replies: Replies = Replies()
        self.authorized: bool = broker.key is None
        self._sessions: dict[int, Session] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._late: set[asyncio.TimerHandle] = set()

    async def serve(self, header: bytes) -> None:
        """Serve until the end; `header` are the eight bytes that the peer began with. Raises nothing of the peer's."""
        try:
            await self._talk(header)
            await self.wire.close()
        except Violation as violation:
            self.broker.counts.violations += 1
            _log.warning("a peer's connection is closed: %s", violation)
            self.wire.send_frame(0, close(error(violation.condition, violation.description)))
            await self.wire.close()
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as gone:
            _log.debug("a peer is gone: %r", gone)
            self.wire.abort()
        finally:
            await self._release()

    def own(self, work: Coroutine[None, None, None]) -> Owned:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def later(self, seconds: float, channel: int, performative: bytes) -> None:
        if len(self._late) >= MAX_LATE:
            raise Violation(RESOURCE_LIMIT, f"{MAX_LATE} acknowledgements are late")

        def send() -> None:
            self._late.discard(handle)
            if not self.broker.trouble.faults.silent:
                self.wire.send_frame(channel, performative)

        handle = asyncio.get_running_loop().call_later(seconds, send)
        self._late.add(handle)

    async def _talk(self, header: bytes) -> None:
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            opened = await self._handshake(header)
        self.wire.accept_frames(opened.max_frame_size)
        self.wire.send_frame(
            0, open_("tollgate-stand-in", max_frame=MAX_FRAME_BYTES, idle_milliseconds=int(IDLE_SECONDS * 1000))
        )
        self.own(self._beat(opened.idle_time_out))
        while True:
            head, body = await self.wire.read_frame()
            await self.broker.trouble.silence_over()
            performative, payload = performative_of(body)
            if performative == "close":
                self.wire.send_frame(0, close())
                return
            self._dispatch(head.channel, performative, payload)
            await self.wire.drain()

    async def _handshake(self, header: bytes) -> Open:
        """Exchange headers and SASL frames, and return the peer's open."""
        if header == SASL_HEADER:
            await self.broker.trouble.silence_over()
            self.wire.send(SASL_HEADER)
            self.wire.send_frame(0, sasl_mechanisms(), SASL_FRAME)
            head, body = await self.wire.read_frame()
            if head.kind != SASL_FRAME or performative_of(body)[0] != "init":
                raise Violation(NOT_ALLOWED, "SASL begins with sasl-init")
            self.wire.send_frame(0, sasl_ok(), SASL_FRAME)
            header = await self.wire.read_header()
        await self.broker.trouble.silence_over()
        self.wire.send(AMQP_HEADER)
        if header != AMQP_HEADER:
            raise ConnectionError(f"no AMQP 1.0: {header!r}")
        _, body = await self.wire.read_frame()
        opened, _ = performative_of(body)
        if not isinstance(opened, Open):
            raise Violation(NOT_ALLOWED, "a connection begins with open")
        return opened

    def _dispatch(self, channel: int, performative: object, payload: bytes) -> None:
        if isinstance(performative, Begin):
            self._begin(channel, performative)
            return
        session = self._sessions.get(channel)
        if session is None:
            if isinstance(performative, Detach):
                return  # the Python SDK ends the session before its last link
            raise Violation(NOT_ALLOWED, f"channel {channel} has no session")
        match performative:
            case Transfer():
                session.on_transfer(performative, payload)
            case Flow():
                session.on_flow(performative)
            case Attach():
                session.on_attach(performative)
            case Detach():
                session.on_detach(performative)
            case "end":
                del self._sessions[channel]
                session.close()
                self.wire.send_frame(channel, end())
            case "disposition":
                pass  # Event Hubs keeps nothing about what its receivers settle
            case _:
                raise Violation(NOT_ALLOWED, f"{performative!r} has no place in a session")

    def _begin(self, channel: int, asked: Begin) -> None:
        if channel in self._sessions or channel > CHANNEL_MAX or len(self._sessions) >= MAX_SESSIONS:
            raise Violation(RESOURCE_LIMIT, f"channel {channel} is in use, or {MAX_SESSIONS} sessions are open")
        self._sessions[channel] = Session(self, channel, asked)
        self.wire.send_frame(channel, begin(channel))

    async def _beat(self, idle_milliseconds: int | None) -> None:
        await self.wire.beat(idle_milliseconds, self.broker.trouble.silence_over)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            if not isinstance(fault, OSError | TimeoutError):
                _log.error("a link failed", exc_info=fault)
            self.wire.abort()

    async def _release(self) -> None:
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()
        for handle in self._late:
            handle.cancel()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
