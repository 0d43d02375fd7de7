"""A gateway under attack stays up and answers the others: `python -m local` as a process, attacked over sockets."""

import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
KEY = b"demo-data-science"
CHAT = b"/openai/deployments/gpt-4o-mini/chat/completions?api-version=2024-10-21"
BODY = b'{"max_tokens": 1, "messages": [{"role": "user", "content": "Hello"}]}'

WRONG_KEYS = 10_000
SLOW_BODIES = 300


class Tollgate:
    """A running `python -m local`."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        host, _, port = url.removeprefix("http://").partition(":")
        self.address = host, int(port)

    @property
    def memory(self) -> int:
        """The process's resident memory in bytes."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send one request on a connection of its own and return the status and body."""
        async with asyncio.timeout(30), self.connection() as (reader, writer):
            writer.write(request)
            return await answer(reader)

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Yield a connection that is dropped, not closed in good manners, when the block ends."""
        reader, writer = await asyncio.open_connection(*self.address)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def well(self) -> float:
        """Return the seconds that a good caller's call takes; it must succeed."""
        began = time.monotonic()
        status, body = await self.ask(post(BODY))
        assert status == 200, body
        assert json.loads(body)["usage"]["completion_tokens"] == 1
        return time.monotonic() - began

    async def others(self, attack: Coroutine[Any, Any, Any]) -> float:
        """Return the median of the seconds that a good caller's calls take while the attack lasts, ten at least."""
        attacking = asyncio.create_task(attack)
        took: list[float] = []
        while not attacking.done() or len(took) < 10:
            took.append(await self.well())
        await attacking
        return statistics.median(took)


def post(body: bytes, *more: bytes, key: bytes = KEY, length: int | None = None) -> bytes:
    size = str(len(body) if length is None else length).encode()
    head = [b"POST " + CHAT + b" HTTP/1.1", b"host: tollgate", b"api-key: " + key, b"content-length: " + size, *more]
    return b"\r\n".join([*head, b"", body])


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode("latin-1").lower().split("\r\n")[1:-2])
    return int(head.split()[1]), await reader.readexactly(int(headers["content-length"]))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tollgate]:
    environment = {name: value for name, value in os.environ.items() if name != "GATEWAY_CATALOG"}
    environment |= {"PORT": "0", "STATE": str(tmp_path_factory.mktemp("attacked") / "state")}
    environment |= {"BODY_TIMEOUT_SECONDS": "1", "MAX_BODY_BYTES": "200000"}
    with subprocess.Popen(
        [sys.executable, "-m", "local"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield Tollgate(process, process.stdout.readline().removeprefix("Tollgate is ready at ").strip())
        finally:
            process.terminate()
            process.communicate(timeout=20)


@pytest.fixture
async def tollgate(running: Tollgate) -> AsyncIterator[Tollgate]:
    """The process of all tests here: each must leave it as well as it found it."""
    await running.well()
    yield running
    assert running.process.poll() is None
    await running.well()


async def test_ten_thousand_wrong_keys(tollgate: Tollgate) -> None:
    """All are refused, memory does not grow with them, and another caller's calls take about as long as before."""
    calm = statistics.median([await tollgate.well() for _ in range(10)])
    refused: list[int] = []

    async def guess(lane: int) -> None:
        async with tollgate.connection() as (reader, writer):
            for first in range(0, WRONG_KEYS // 4, 50):
                writer.write(b"".join(post(b"{}", key=b"sk-%d-%d" % (lane, first + each)) for each in range(50)))
                refused.extend([(await answer(reader))[0] for _ in range(50)])

    async def attack() -> None:
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for lane in range(4):
                group.create_task(guess(lane))

    before = tollgate.memory
    attacked = await tollgate.others(attack())
    assert len(refused) == WRONG_KEYS
    assert set(refused) <= {401, 503}
    assert tollgate.memory - before < 48_000_000
    assert attacked < 3 * calm + 0.2


async def test_slow_bodies(tollgate: Tollgate) -> None:
    """Hundreds of bodies that do not arrive hold no one up; each is told 408 when its time is over."""

    async def dawdle() -> int:
        return (await tollgate.ask(post(b'{"mess', length=1_000)))[0]

    statuses: list[int] = []

    async def attack() -> None:
        statuses.extend(await asyncio.gather(*(dawdle() for _ in range(SLOW_BODIES))))

    calm = await tollgate.well()
    assert await tollgate.others(attack()) < 3 * calm + 0.5
    assert statuses == [408] * SLOW_BODIES


def large_header() -> bytes:
    return post(BODY, b"x-large: " + b"a" * 1_000_000)


def many_headers() -> bytes:
    return post(BODY, *(b"x-%d: %s" % (number, b"a" * 100) for number in range(5_000)))


@pytest.mark.parametrize("attack", [large_header, many_headers])
async def test_oversized_headers(tollgate: Tollgate, attack: Callable[[], bytes]) -> None:
    """A head over 32 KB is refused with 431 or cut off, however often it comes."""
    before = tollgate.memory

    async def send() -> None:
        for _ in range(20):
            try:
                status, _ = await tollgate.ask(attack())
            except (ConnectionError, asyncio.IncompleteReadError):
                continue
            assert status == 431

    await tollgate.others(send())
    assert tollgate.memory - before < 48_000_000


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (post(b"\x1f\x8b" + b"\0" * 1_000, b"content-encoding: gzip"), 415),
        (post(b"{}", b"content-encoding: br"), 415),
        (post(b"", length=10**15), 413),
        (post(b"", length=10**30), 400),
        (post(b'{"a": ' + b"[" * 150_000), 400),
        (post(b'{"messages": ' + b"[" * 90_000 + b"]" * 90_000 + b"}"), 400),
        (post(b'{"model": ' + b'{"a":' * 30_000 + b"1" + b"}" * 30_000 + b"}"), 400),
        (post(b'{"max_tokens": ' + b"9" * 100_000 + b"}"), 400),
        (post(b"\xff\xfe{}"), 400),
    ],
    ids=["gzip", "brotli", "petabyte", "absurd", "open", "deep", "deep model", "digits", "not UTF-8"],
)
async def test_hostile_bodies(tollgate: Tollgate, request_bytes: bytes, status: int) -> None:
    """Compressed, endless, deep and absurd bodies are refused for what they are."""
    assert (await tollgate.ask(request_bytes))[0] == status


async def test_a_body_over_the_limit_in_chunks(tollgate: Tollgate) -> None:
    """A body without a length is refused as soon as it is over the limit, however much would come."""
    head = b"POST " + CHAT + b" HTTP/1.1\r\nhost: t\r\napi-key: " + KEY + b"\r\ntransfer-encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + b"a" * 0x10000 + b"\r\n"
    assert (await tollgate.ask(head + chunk * 4))[0] == 413


async def test_garbage_on_the_wire(tollgate: Tollgate) -> None:
    """Bytes that are no HTTP, and garbage behind a good request, end their own connection and no other."""
    garbage = [
        b"\x16\x03\x01\x02\x00" * 100,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\n bad: folded\r\n\r\n",
        post(BODY) + os.urandom(2_000),
        post(b"{}", key=b"sk-nobody") * 500,
    ]

    async def throw(data: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(30), tollgate.connection() as (reader, writer):
                writer.write(data)
                writer.write_eof()
                await reader.read(100)

    async def attack() -> None:
        for data in garbage * 5:
            await throw(data)

    await tollgate.others(attack())


async def test_half_open_connections(tollgate: Tollgate) -> None:
    """Connections that say nothing, half a head, or leave in the middle of a stream, are in nobody's way."""
    stream = post(BODY.replace(b"{", b'{"stream": true, ', 1))

    async def linger(number: int, until: asyncio.Event) -> None:
        async with tollgate.connection() as (_, writer):
            writer.write((b"", b"POST / HT", stream)[number % 3])
            await until.wait()

    calm = await tollgate.well()
    over = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for number in range(300):
            group.create_task(linger(number, over))
        attacked = await tollgate.others(asyncio.sleep(0))
        over.set()
    assert attacked < 3 * calm + 0.5
