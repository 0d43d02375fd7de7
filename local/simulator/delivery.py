"""An answer on its way out: paced, spoilt where a fault says so, and billed for exactly what it delivered."""

from collections import defaultdict
from dataclasses import replace

from local.simulator.answers import Answer, Event
from local.simulator.backend import Backend
from local.simulator.calls import Call
from local.simulator.exchange import CallerLeft, Exchange
from local.simulator.faults import Cut, Malformed, RequestFault, Stall
from local.simulator.invoice import Outcome
from local.simulator.tokens import Usage

GARBAGE_LINE = b"\x00\xff this is no event\n\n"


class Severed(Exception):
    """A fault ended the connection in the middle of the answer."""


class Delivery:
    """Sends one answer. Raises CallerLeft where the caller went away before it began; that costs nothing."""

    def __init__(self, backend: Backend, exchange: Exchange, call: Call, fault: RequestFault | None) -> None:
        self._backend = backend
        self._exchange = exchange
        self._call = call
        self._fault = fault
        self._sent: dict[int, list[str]] = defaultdict(list)
        self._events = 0

    async def deliver(self, answer: Answer) -> None:
        settings = self._backend.settings
        wait_ms = settings.latency_ms
        if answer.events is None and not answer.background:
            wait_ms += settings.token_delay_ms * answer.usage.completion
        if wait_ms:
            await self._exchange.wait(wait_ms / 1000)
        outcome: Outcome = "client_left"
        try:
            if self._exchange.gone:
                raise CallerLeft
            await self._start(answer)
            if answer.events is None:
                await self._send_body(answer.body)
            else:
                await self._send_events(answer)
            outcome = "completed"
            if answer.kept is not None:
                answer.kept()
        except Severed:
            outcome = "cut"
        finally:
            # A cancelled delivery is one whose caller is gone: what was sent is billed all the same.
            if self._exchange.status and not answer.background:
                self._backend.bill(self._call, outcome, self._cost(answer, outcome), stream=answer.events is not None)

    async def _start(self, answer: Answer) -> None:
        headers = list(self._backend.headers(self._call))
        if answer.events is None:
            headers.append((b"content-type", b"application/json"))
            headers.append((b"content-length", b"%d" % len(answer.body)))
        else:
            headers.append((b"content-type", b"text/event-stream; charset=utf-8"))
        await self._exchange.start(200, headers)

    async def _send_body(self, body: bytes) -> None:
        if isinstance(self._fault, Cut | Stall):
            await self._exchange.write(body[: len(body) // 2], more=True)
            await self._interrupt(self._fault)
            body = body[len(body) // 2 :]
        await self._exchange.write(body, more=False)

    async def _send_events(self, answer: Answer) -> None:
        delay = self._backend.settings.token_delay_ms / 1000
        tokenizer = self._call.tokenizer
        for event in answer.events or ():
            await self._fault_before(self._events)
            if delay and event.text:
                await self._exchange.wait(delay * max(1, tokenizer.count(event.text)))
            await self._exchange.write(self._spoilt(event), more=True)
            self._events += 1
            if event.text:
                self._sent[event.part].append(event.text)
        await self._fault_before(self._events)
        await self._exchange.write(b"", more=False)

    async def _fault_before(self, place: int) -> None:
        match self._fault:
            case Cut(after_chunks=after) | Stall(after_chunks=after) if after == place:
                await self._interrupt(self._fault)
            case Malformed(at_chunk=at, form="line") if at == place:
                await self._exchange.write(GARBAGE_LINE, more=True)

    async def _interrupt(self, fault: Cut | Stall) -> None:
        if isinstance(fault, Stall):
            await self._exchange.wait(fault.seconds)
            return
        await (self._exchange.reset() if fault.rst else self._exchange.hang_up())
        raise Severed

    def _spoilt(self, event: Event) -> bytes:
        match self._fault:
            case Malformed(at_chunk=at, form="json") if at == self._events:
                return event.data[: len(event.data) // 2].rstrip(b"\n") + b"\n\n"
        return event.data

    def _cost(self, answer: Answer, outcome: Outcome) -> Usage:
        if self._call.report == "zero":
            return Usage()
        if outcome == "completed" or answer.events is None:
            return answer.usage
        count = self._call.tokenizer.count
        said = sum(count("".join(texts)) for texts in self._sent.values())
        return replace(answer.usage, completion=said, reasoning=0)
