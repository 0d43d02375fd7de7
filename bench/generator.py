"""A closed-loop load generator: `python -m bench.generator` reads one Load a line, answers one Tally a line (JSON).

Callers are raw protocols without tasks: each sends its request again as soon as the answer is complete. An answer ends
by its content-length or, chunked, by its last chunk. Each caller asks once before the time counts: busy servers accept
one connection a turn, and so slowly that nothing else would be seen of their slowest answers.
"""

import asyncio
import re
import sys
import time
from typing import Final, cast

import msgspec
import uvloop

CONTENT_LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
LAST_CHUNK: Final = b"0\r\n\r\n"
GRACE_SECONDS: Final = 15.0


class Load(msgspec.Struct, frozen=True):
    """`callers` ask `port` of loopback for `request` (the whole of it, ASCII) until `seconds` are over.

    They begin evenly spread over `spread_seconds`, when each has had an answer, and the time counts from the last one's
    beginning.
    """

    port: int
    request: str
    callers: int
    seconds: float
    streamed: bool
    spread_seconds: float = 0.0


class Tally(msgspec.Struct, frozen=True):
    """What came of a Load; `seconds` from the first request to the last answer.

    `p50` and `p99` are microseconds from a request to its whole answer, of streams to the first byte of the answer's
    body. `fault` tells of the first answer that was not as it should be; `faults` counts them, and `requests` the
    others; `before` are the answers that came before the time counted.
    """

    requests: int
    seconds: float
    before: int = 0
    p50: float = 0.0
    p99: float = 0.0
    faults: int = 0
    fault: str = ""

    @property
    def answers(self) -> int:
        """All answers: what CPU time is counted by."""
        return self.before + self.requests


class Run:
    """One Load as it runs."""

    def __init__(self, load: Load, done: asyncio.Future[None]) -> None:
        self.request = load.request.encode()
        self.streamed = load.streamed
        self.started = self.until = 0.0
        self.durations: list[float] = []
        self.faults: list[str] = []
        self._load = load
        self._done = done
        self._ready: list[Caller] = []
        self._working = load.callers

    def ready(self, caller: "Caller") -> None:
        """Take a caller that has had its first answer; let all of them begin with the last."""
        self._ready.append(caller)
        if len(self._ready) < self._load.callers:
            return
        loop = asyncio.get_running_loop()
        self.started = time.perf_counter()
        self.until = self.started + self._load.spread_seconds + self._load.seconds
        for number, each in enumerate(self._ready):
            loop.call_later(self._load.spread_seconds * number / self._load.callers, each.ask)

    def leave(self) -> None:
        self._working -= 1
        # A caller that left before the others were ready leaves them waiting for ever.
        if (not self._working or not self.started) and not self._done.done():
            self._done.set_result(None)

    def tally(self) -> Tally:
        return Tally(
            requests=len(self.durations),
            seconds=time.perf_counter() - self.started if self.started else 0.0,
            before=len(self._ready),
            p50=quantile(self.durations, 0.5),
            p99=quantile(self.durations, 0.99),
            faults=len(self.faults),
            fault=self.faults[0] if self.faults else "",
        )


class Caller(asyncio.Protocol):
    """One connection that asks again and again."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._sent = 0.0
        self._first = 0.0
        self._missing = 0
        self._left = False
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._left:
            self._fail(f"the connection was lost: {error or 'closed by the peer'}")

    def data_received(self, data: bytes) -> None:
        if self._first:
            self._go_on(data)
            return
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end or not body:
            return
        self._first = time.perf_counter()
        if not head.startswith(b"HTTP/1.1 200"):
            self._fail((head[:40] + b" ... " + body[:200]).decode(errors="replace"))
            return
        length = CONTENT_LENGTH.search(head)
        self._missing = int(length[1]) if length else -1
        self._received = b""
        self._go_on(body)

    def ask(self) -> None:
        if self._left:
            return
        self._first = 0.0
        self._received = b""
        self._sent = time.perf_counter()
        self._transport.write(self._run.request)

    def _go_on(self, data: bytes) -> None:
        if self._missing >= 0:
            self._missing -= len(data)
            if self._missing == 0:
                self._complete(whole=not self._run.streamed)
            return
        self._received = (self._received + data)[-64:] if len(data) < 64 else data[-64:]
        if self._received.endswith(LAST_CHUNK):
            self._complete(whole=not self._run.streamed or b"[DONE]" in self._received)

    def _complete(self, *, whole: bool) -> None:
        if not whole:
            self._fail("a stream was asked for, and what came did not end with [DONE]")
            return
        if not self._run.started:
            self._run.ready(self)
            return
        now = time.perf_counter()
        self._run.durations.append((self._first if self._run.streamed else now) - self._sent)
        if now < self._run.until:
            self.ask()
        else:
            self._leave()

    def _fail(self, fault: str) -> None:
        self._run.faults.append(fault)
        self._leave()

    def _leave(self) -> None:
        self._left = True
        self._transport.close()
        self._run.leave()


def quantile(seconds: list[float], share: float) -> float:
    """Return the value that `share` of them do not exceed, in microseconds; 0 where there are none."""
    ordered = sorted(seconds)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1e6 if ordered else 0.0


async def generate(load: Load) -> Tally:
    """Carry out a Load; answers that are still missing 15 s after its end are a fault."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    run = Run(load, done)
    try:
        async with asyncio.timeout(load.spread_seconds + load.seconds + GRACE_SECONDS):
            for _ in range(load.callers):
                _, caller = await loop.create_connection(lambda: Caller(run), "127.0.0.1", load.port)
                caller.ask()
            await done
    except TimeoutError:
        run.faults.append("answers were missing 15 s after the end")
    except OSError as error:
        run.faults.append(f"cannot connect: {error}")
    return run.tally()


if __name__ == "__main__":
    for line in sys.stdin:
        tally = uvloop.run(generate(msgspec.json.decode(line, type=Load)))
        print(msgspec.json.encode(tally).decode(), flush=True)
