"""Passes a backend's answer on to the caller, and adds nothing to it but the gateway's own headers."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any

from gateway.answers.streaming import Chatter, StreamReader
from gateway.answers.texts import TEXT_OF_CHAT, TEXT_OF_RESPONSES
from gateway.attempts.attempt import Attempt, StreamBroken
from gateway.call import Call
from gateway.deadlines import Deadlines
from gateway.errors import CallerLeft, error_json
from gateway.requests import operations
from gateway.requests.departure import DepartureWatch
from gateway.upstream.upstream import UpstreamError, header
from gateway.usage import Outcome

type Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
type Headers = list[tuple[bytes, bytes]]

NOT_PASSED_ON = frozenset(
    {
        # Hop by hop (RFC 9110, 7.6.1), undone on the way, made anew by our own server, or ours to say.
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"content-length",
        b"content-encoding",
        b"date",
        b"server",
        b"set-cookie",
        b"strict-transport-security",
        b"x-request-id",
        b"x-gateway-backend",
        b"x-gateway-attempts",
        b"x-gateway-tried",
        b"x-gateway-cache",
    }
)

ENDING_IS_MARKED = frozenset({operations.CHAT, operations.COMPLETIONS, operations.RESPONSES})
"""Operations whose streams say that they are complete; one that stops without saying so was cut."""

DRAIN_SECONDS = 1.0

MOST_COMMENTS = 10
"""How many times the time-out of silence a stream may go on with comments alone, or with a part of an event."""

HEARTBEAT = b": still waiting\n\n"
"""A comment, which readers of event streams skip; load balancers cut what is silent for minutes."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StreamRules:
    """Seconds of a backend's silence: after each `heartbeat` the caller gets a comment, `idle` of it are a stall."""

    idle: float
    heartbeat: float


class Relay:
    def __init__(self, rules: StreamRules, learn: Callable[[Call], None]) -> None:
        """Take `learn`, which is told of each answer before the caller can have seen all of it."""
        self._rules = rules
        self._learn = learn
        self._beat = min(rules.heartbeat, rules.idle)
        self._deadlines = Deadlines()

    async def pass_on(self, call: Call, attempt: Attempt, send: Send, watch: DepartureWatch) -> Outcome:
        """Send the answer and return how it ended; closes the backend's connection in any case.

        Raises CallerLeft, and StreamBroken while a stream has sent nothing that its caller would miss.
        """
        try:
            if attempt.body is not None:
                await self._whole(call, attempt, attempt.body, send, watch)
                return "completed"
            return await self._stream(call, attempt, send, watch)
        finally:
            attempt.answer.close()

    async def _whole(self, call: Call, attempt: Attempt, body: bytes, send: Send, watch: DepartureWatch) -> None:
        watch.stop()
        self._learn(call)
        headers = answer_headers(call, attempt.answer.headers)
        headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": attempt.answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _stream(self, call: Call, attempt: Attempt, send: Send, watch: DepartureWatch) -> Outcome:
        reader = call.reader = _reader(call, attempt)
        if not call.answering:
            headers = answer_headers(call, attempt.answer.headers)
            await send({"type": "http.response.start", "status": attempt.answer.status, "headers": headers})
            call.answering = True
        fault = await self._pump(call, attempt, reader, send)
        if reader is not None and not fault:
            fault = await _ending(call, reader, send)
        if fault and reader is not None and not any(reader.delivered_text().values()):
            raise StreamBroken(fault)
        watch.stop()
        if fault:
            return await self.give_up(call, fault, send)
        await self._finish(call, attempt, send)
        return "upstream_error" if reader is not None and reader.failed else "completed"

    async def _pump(self, call: Call, attempt: Attempt, reader: StreamReader | None, send: Send) -> str:
        """Pass bytes on until their end is marked or they end; return what went wrong with the backend, or nothing."""
        time = asyncio.get_running_loop().time
        data: bytes | None = attempt.first
        silent, sending = 0.0, False
        chatter = Chatter(self._rules.idle * MOST_COMMENTS, time())
        while silent < self._rules.idle:
            try:
                with self._deadlines.within(self._beat) as deadline:
                    while data := data or await attempt.answer.chunk():
                        block, data = data if reader is None else reader.feed(data), b""
                        if reader is not None and reader.ended:
                            self._learn(call)
                        if block:
                            deadline.due = time() + self._rules.idle
                            sending = True
                            await send({"type": "http.response.body", "body": block, "more_body": True})
                            sending = False
                        now = time()
                        if chatter.too_long(block, now):
                            return f"sent nothing but comments for {self._rules.idle * MOST_COMMENTS:g} seconds"
                        if reader is not None and (reader.ended or reader.malformed or reader.failed):
                            return ""
                        silent = 0.0
                        deadline.due = now + self._beat
                    return ""
            except TimeoutError as error:
                if sending:
                    raise CallerLeft from error
            except UpstreamError:
                return "broke the stream off"
            silent += self._beat
            await _beat(reader, send)
        return f"was silent for {self._rules.idle:g} seconds"

    async def _finish(self, call: Call, attempt: Attempt, send: Send) -> None:
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        if call.claim is not None:
            call.claim.release()
        # The caller has its end; the few bytes that end the answer upstream let its connection be used again.
        with contextlib.suppress(TimeoutError, UpstreamError), self._deadlines.within(DRAIN_SECONDS):
            while await attempt.answer.chunk():
                pass

    async def give_up(self, call: Call, fault: str, send: Send) -> Outcome:
        """End a stream that has begun and cannot be completed, with an error event where it is one of events."""
        logger.warning("%s backend %s %s", call.id, call.member.backend.name, fault)
        # Bytes that are no events have no place for an error: left unfinished, the answer reads as cut.
        if call.reader is not None:
            await send({"type": "http.response.body", "body": _error_event(call, fault), "more_body": False})
        return "upstream_error"


async def _beat(reader: StreamReader | None, send: Send) -> None:
    if reader is not None:
        await send({"type": "http.response.body", "body": HEARTBEAT, "more_body": True})


async def _ending(call: Call, reader: StreamReader, send: Send) -> str:
    """Send what is left of a stream that has ended; return what is wrong with its end: nothing where it said so."""
    if not (reader.ended or reader.malformed or reader.failed) and (rest := reader.finish()):
        await send({"type": "http.response.body", "body": rest, "more_body": True})
    if reader.withheld:
        return f"reported an error: {reader.withheld}"
    if reader.malformed:
        return "sent what is no event stream"
    if reader.ended or reader.failed or call.target.operation not in ENDING_IS_MARKED:
        return ""
    return "ended the stream before it was complete"


def answer_headers(call: Call, headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Return a backend's headers as the caller gets them, with the gateway's own."""
    kept = [each for each in headers if each[0] not in NOT_PASSED_ON]
    if call.limit_headers is not None:
        # A backend's limits are not the caller's, who has limits of its own.
        kept = [(name, value) for name, value in kept if not name.startswith(b"x-ratelimit-")]
    kept += own_headers(call)
    return kept


def own_headers(call: Call) -> Headers:
    headers = [(b"x-request-id", call.id.encode()), (b"x-gateway-attempts", str(len(call.tried)).encode())]
    if call.tried:
        headers.append((b"x-gateway-backend", call.member.backend.name.encode()))
    if len(call.results) > 1:
        tried = zip(call.tried, call.results, strict=False)
        headers.append((b"x-gateway-tried", ", ".join(f"{each.backend.name}={what}" for each, what in tried).encode()))
    if call.limit_headers:
        headers += call.limit_headers
    if call.caching is not None:
        headers.append((b"x-gateway-cache", call.caching.verdict))
    return headers


def _reader(call: Call, attempt: Attempt) -> StreamReader | None:
    if not header(attempt.answer, b"content-type").lower().startswith(b"text/event-stream"):
        return None
    responses = call.target.operation == operations.RESPONSES
    record = call.caching.record if call.caching is not None else None
    return StreamReader(call.hide_usage, TEXT_OF_RESPONSES if responses else TEXT_OF_CHAT, record)


def _error_event(call: Call, fault: str) -> bytes:
    message = f"The backend {fault}; what was delivered is charged. Request id: {call.id}."
    return b"data: " + error_json(message, "server_error", "upstream_error") + b"\n\n"
