"""Prompts and completions, redacted, on their way to an event hub of their own, for subscriptions that ask for it.

Nothing here is in a caller's way: a call is noted when it is over, and what is long (reading, redacting, sending) is
done later, by one task and a thread. What is too much is dropped and counted, never kept waiting without bound.
"""

import asyncio
import contextlib
import logging
from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import msgspec

from gateway.answers.texts import texts_of
from gateway.call import Call
from gateway.safety.prompts import messages_in
from gateway.safety.redaction import LONGEST_SECRET, redact
from gateway.usage import Outcome
from seams.clock import Clock
from seams.events import EventStream, StreamUnavailable

MOST_WAITING = 1_000
MOST_BYTES = 64_000_000
"""Calls that wait, and the bytes of their requests and answers."""

MOST_TOGETHER = 64
"""Calls that share an acknowledgement of the hub."""

MOST_PROMPT, MOST_COMPLETION = 96_000, 48_000
"""Characters; an event of both is under the hub's 1 MB whatever they are escaped to."""

MOST_MESSAGES = 500
LONGEST_ROLE = 32
CLOSE_SECONDS = 5.0
"""What is not sent so long after the app began to stop is dropped."""

logger = logging.getLogger(__name__)


class LoggedMessage(msgspec.Struct, frozen=True):
    role: str
    text: str


class PromptRecord(msgspec.Struct, frozen=True):
    """One call. `truncated`: there was more than an event holds; of the messages the latest are kept."""

    id: str
    time: datetime
    subscription: str
    deployment: str
    operation: str
    outcome: str
    messages: list[LoggedMessage]
    completion: str
    truncated: bool
    schema: int = 1


@dataclass(frozen=True, slots=True)
class _Noted:
    call: Call
    outcome: str
    time: datetime
    size: int


class PromptLog:
    """`dropped` counts the calls that should have been logged and were not."""

    def __init__(self, stream: EventStream, clock: Clock) -> None:
        self._stream = stream
        self._clock = clock
        self._waiting: deque[_Noted] = deque()
        self._bytes = 0
        self._sender: asyncio.Task[None] | None = None
        self.dropped = 0

    def note(self, call: Call, outcome: Outcome | None) -> None:
        """Take a call that is over; returns at once."""
        size = len(call.body) + len((call.attempt and call.attempt.body) or b"")
        if len(self._waiting) >= MOST_WAITING or self._bytes + size > MOST_BYTES:
            self._drop(1, "too many are waiting")
            return
        code = call.error.code if call.error is not None else ""
        self._waiting.append(_Noted(call, outcome or code or "failed", self._clock.now(), size))
        self._bytes += size
        if self._sender is None:
            self._sender = asyncio.get_running_loop().create_task(self._send_all())

    async def close(self) -> None:
        """Wait a little for what is on its way."""
        if self._sender is not None:
            await asyncio.wait([self._sender], timeout=CLOSE_SECONDS)
        if self._sender is not None:
            self._sender.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sender
            self._drop(len(self._waiting), "the gateway is stopping")
        await self._stream.close()

    async def _send_all(self) -> None:
        try:
            while self._waiting:
                lot = [self._waiting.popleft() for _ in range(min(MOST_TOGETHER, len(self._waiting)))]
                self._bytes -= sum(noted.size for noted in lot)
                by_key: defaultdict[str, list[_Noted]] = defaultdict(list)
                for noted in lot:
                    by_key[noted.call.subscription.name].append(noted)
                await asyncio.gather(*(self._send(key, part) for key, part in by_key.items()))
        finally:
            self._sender = None

    async def _send(self, key: str, lot: list[_Noted]) -> None:
        left = len(lot)
        try:
            # Searching long texts takes milliseconds, which the event loop has not.
            bodies = await asyncio.to_thread(_encoded, lot)
            self._drop(len(lot) - len(bodies), "they could not be read")
            left = len(bodies)
            await self._stream.publish(bodies, key)
        except asyncio.CancelledError:
            self._drop(left, "the gateway is stopping")
            raise
        except StreamUnavailable as error:
            self._drop(left, str(error))
        except Exception as error:  # noqa: BLE001 - the next records must go on; no message, which may quote a prompt
            self._drop(left, type(error).__name__)

    def _drop(self, count: int, why: str) -> None:
        if count:
            self.dropped += count
            logger.error("%d prompt records dropped: %s", count, why)


def _encoded(lot: list[_Noted]) -> list[bytes]:
    """Return the records of those calls that can be read."""
    bodies = []
    for noted in lot:
        try:
            bodies.append(msgspec.json.encode(record(noted.call, noted.outcome, noted.time)))
        except Exception as error:  # noqa: BLE001 - one odd call must not cost the others their record
            logger.error("%s has no prompt record: %s", noted.call.id, type(error).__name__)  # noqa: TRY400 - a traceback may quote a prompt
    return bodies


def record(call: Call, outcome: str, time: datetime) -> PromptRecord:
    """Return what is logged of a call: redacted, and small enough for one event."""
    messages, cut = _messages(call)
    completion, shortened = _redacted("".join(_completion(call)), MOST_COMPLETION)
    return PromptRecord(
        id=call.id,
        time=time,
        subscription=call.subscription.name,
        deployment=call.deployment.name,
        operation=call.target.operation[:256],
        outcome=outcome,
        messages=messages,
        completion=completion,
        truncated=cut or shortened,
    )


def _messages(call: Call) -> tuple[list[LoggedMessage], bool]:
    """Return the latest messages that fit, in their order, and whether anything was left out."""
    said = messages_in(call.target.operation, call.body)
    kept: list[LoggedMessage] = []
    left, cut = MOST_PROMPT, len(said) > MOST_MESSAGES
    for message in reversed(said[-MOST_MESSAGES:]):
        text, shortened = _redacted(message.text, left)
        left -= len(text)
        cut = cut or shortened
        kept.append(LoggedMessage(redact(message.role[:LONGEST_ROLE]), text))
    return kept[::-1], cut


def _completion(call: Call) -> Iterable[str]:
    if call.reader is not None:
        return call.reader.delivered_text().values()
    body = call.attempt.body if call.attempt is not None else None
    if not body or (call.attempt is not None and call.attempt.answer.status >= 400):
        return ()
    return texts_of(call.target.operation, body).values()


def _redacted(text: str, most: int) -> tuple[str, bool]:
    """Return at most so many characters, redacted first: a number that is cut in two is no number any more."""
    redacted = redact(text[: most + LONGEST_SECRET])
    if len(text) <= most + LONGEST_SECRET:
        return redacted[:most], len(redacted) > most
    # What is cut in two at this end, and so not known for what it is, must not be moved into view by marks before it.
    return redacted[:-LONGEST_SECRET][:most], True
