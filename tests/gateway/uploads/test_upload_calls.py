"""Uploads through the gateway over real connections: streamed, repeated, broken off, and without growing memory."""

import asyncio
import contextlib
import hashlib
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.metering.tokens import TokenCounter
from tests.gateway.catalogs import KEY, catalog_of
from tests.gateway.running import RunningGateway, Timeouts, run_gateway
from tests.served import served

PATH = "/openai/deployments/whisper/audio/transcriptions"
V1 = "/openai/v1/audio/transcriptions"
ANSWER = json.dumps({"text": "hello", "usage": {"type": "duration", "seconds": 7}}).encode()
PIECE = os.urandom(64 * 1024)
WAVE = PIECE * 48
"""Three megabytes: more than is kept in memory."""

LARGE_PIECES = 3200


class AudioBackend:
    """Reads an upload as it comes, at most `reads` messages of it, and answers with `status`."""

    def __init__(self, status: int = 200, *, reads: int = 10**9) -> None:
        self.status = status
        self._reads = reads
        self.size = 0
        self.sum = hashlib.sha256()
        self.headers: dict[bytes, bytes] = {}
        self.left = asyncio.Event()
        self.arrived = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.headers = dict(scope["headers"])
        self.size, self.sum = 0, hashlib.sha256()
        for _ in range(self._reads):
            message = await receive()
            if message["type"] == "http.disconnect":
                self.left.set()
                return
            self.size += len(message["body"])
            self.sum.update(message["body"])
            if self.size:
                self.arrived.set()
            if not message.get("more_body", False):
                break
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": ANSWER})


def catalog_at(*urls: str) -> dict[str, Any]:
    catalog = catalog_of({})
    catalog["subscriptions"].pop("team-b")
    names = [f"backend{number}" for number in range(len(urls))]
    pool = [{"backend": name, "deployment": "there", "priority": place} for place, name in enumerate(names, 1)]
    return catalog | {
        "backends": {
            name: {"endpoint": url, "auth": {"api_key": "setting:UPSTREAM_KEY"}}
            for name, url in zip(names, urls, strict=True)
        },
        "deployments": {"whisper": {"model": "whisper", "pool": pool}},
    }


@asynccontextmanager
async def gateway_to(
    counter: TokenCounter, *backends: AudioBackend, **changes: Any
) -> AsyncIterator[tuple[RunningGateway, httpx2.AsyncClient]]:
    async with contextlib.AsyncExitStack() as stack:
        urls = [await stack.enter_async_context(served(backend)) for backend in backends]
        changes = {"body_limit": 10**9} | changes
        gateway = await stack.enter_async_context(run_gateway({}, counter, catalog=catalog_at(*urls), **changes))
        client = httpx2.AsyncClient(base_url=gateway.url, headers={"api-key": KEY}, timeout=60)
        yield gateway, await stack.enter_async_context(client)


async def pieces(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield PIECE


def form(*, model_last: bool) -> tuple[bytes, dict[str, str]]:
    """Return a form as the SDK for Node sends it where its caller names the file first, and its headers."""
    parts = [b'name="model"\r\n\r\nwhisper', b'name="file"; filename="a.wav"\r\ncontent-type: audio/wav\r\n\r\n' + WAVE]
    if model_last:
        parts.reverse()
    body = b"".join(b"--edge\r\ncontent-disposition: form-data; " + part + b"\r\n" for part in parts)
    return body + b"--edge--\r\n", {"content-type": "multipart/form-data; boundary=edge"}


OCTETS = {"content-type": "application/octet-stream"}


async def test_a_backend_reads_while_the_caller_writes(counter: TokenCounter) -> None:
    """The first bytes are with the backend before the caller has sent the last."""
    backend = AudioBackend()
    more = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        for _ in range(8):
            yield PIECE
        await more.wait()
        yield PIECE

    async with gateway_to(counter, backend) as (_, client):
        call = asyncio.create_task(client.post(PATH, content=slowly(), headers=OCTETS))
        async with asyncio.timeout(20):
            await backend.arrived.wait()
        assert not call.done()
        more.set()
        assert (await call).status_code == 200
    assert backend.size == 9 * len(PIECE)


@pytest.mark.parametrize("model_last", [False, True])
async def test_forms_in_either_order(counter: TokenCounter, *, model_last: bool) -> None:
    """A form that names its model behind a large file is served as one that names it first; its length is told."""
    backend = AudioBackend()
    body, headers = form(model_last=model_last)
    async with gateway_to(counter, backend) as (gateway, client):
        answer = await client.post(V1, content=body, headers=headers)
        assert (answer.status_code, answer.content) == (200, ANSWER)
        (event,) = await gateway.settled(1)
    assert event.meters.audio_milliseconds == 7000
    expected = body.replace(b"\r\n\r\nwhisper\r\n", b"\r\n\r\nthere\r\n")
    assert backend.sum.digest() == hashlib.sha256(expected).digest()
    assert backend.headers[b"content-length"] == str(len(expected)).encode()


@pytest.mark.parametrize("reads", [1, 10**9], ids=["at once", "after all of it"])
async def test_another_backend_gets_all_of_it(counter: TokenCounter, reads: int) -> None:
    """Whenever the first backend refuses an upload, in its middle or at its end, the next one gets it whole."""
    first, second = AudioBackend(503, reads=reads), AudioBackend()
    async with gateway_to(counter, first, second) as (_, client):
        answer = await client.post(PATH, content=WAVE, headers=OCTETS)
        assert answer.status_code == 200
        assert answer.headers["x-gateway-tried"] in {"backend0=503, backend1=200", "backend0=unreachable, backend1=200"}
    assert second.sum.digest() == hashlib.sha256(WAVE).digest()


async def test_no_room_for_another_attempt(counter: TokenCounter) -> None:
    """Without room on the disk an upload still goes through; a failure after its first bytes is told for what it is."""
    backend = AudioBackend()
    async with gateway_to(counter, backend, spool=0) as (_, client):
        assert (await client.post(PATH, content=pieces(48), headers=OCTETS)).status_code == 200
        assert backend.headers[b"transfer-encoding"] == b"chunked"
        backend.status = 503
        answer = await client.post(PATH, content=pieces(48), headers=OCTETS)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "upload_interrupted")


async def test_an_early_answer_is_passed_on(counter: TokenCounter) -> None:
    """A backend that refuses an upload before it has all of it is heard."""
    async with gateway_to(counter, AudioBackend(400, reads=1)) as (_, client):
        assert (await client.post(PATH, content=WAVE, headers=OCTETS)).status_code == 400


async def test_no_body_is_none(counter: TokenCounter) -> None:
    """A request without a body has none upstream either, whatever its content type announces."""
    backend = AudioBackend()
    async with gateway_to(counter, backend) as (_, client):
        assert (await client.get("/openai/deployments/whisper/voices", headers=OCTETS)).status_code == 200
    assert not {b"content-length", b"transfer-encoding"} & set(backend.headers)


async def test_over_the_limit_in_mid_stream(counter: TokenCounter) -> None:
    """An upload of unknown length is broken off where it is over the limit; its backend sees no end of it."""
    backend = AudioBackend()
    async with gateway_to(counter, backend, body_limit=16 * len(PIECE)) as (gateway, client):
        answer = await client.post(PATH, content=pieces(48), headers=OCTETS)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")
        async with asyncio.timeout(20):
            await backend.left.wait()
        assert (await client.post(PATH, content=pieces(2), headers=OCTETS)).status_code == 200
        assert len(await gateway.settled(1)) == 1


async def test_too_slow_in_mid_stream(counter: TokenCounter) -> None:
    """A caller that stops in the middle of an upload is told so, and its backend is let go."""
    backend = AudioBackend()

    async def stops() -> AsyncIterator[bytes]:
        for _ in range(16):
            yield PIECE
        await backend.left.wait()

    async with gateway_to(counter, backend, timeouts=Timeouts(body=0.5)) as (_, client):
        answer = await client.post(PATH, content=stops(), headers=OCTETS)
        assert (answer.status_code, answer.json()["error"]["code"]) == (408, "request_timeout")
        async with asyncio.timeout(20):
            await backend.left.wait()


async def test_a_departure_in_mid_stream(counter: TokenCounter) -> None:
    """A caller that leaves in the middle of an upload takes the backend's work with it."""
    backend = AudioBackend()
    async with gateway_to(counter, backend) as (gateway, _):
        host, _, port = gateway.url.removeprefix("http://").partition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\napi-key: {KEY}\r\ncontent-type: audio/wav\r\n"
        writer.write(f"{head}content-length: {len(WAVE)}\r\n\r\n".encode() + WAVE[: len(WAVE) // 2])
        async with asyncio.timeout(20):
            await backend.arrived.wait()
            writer.transport.abort()
            await backend.left.wait()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        (event,) = await gateway.settled(1)
    assert (event.outcome, event.status) == ("client_closed", 499)


@pytest.fixture
def memory() -> Callable[[], int]:
    """Return what tells this process's resident memory in bytes."""

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    return resident


async def test_memory_does_not_grow_with_uploads(counter: TokenCounter, memory: Callable[[], int]) -> None:
    """Two hundred megabytes pass in less than twenty of memory, that of caller and backend included."""
    backend = AudioBackend()
    most = 0

    async def watched() -> AsyncIterator[bytes]:
        nonlocal most
        async for piece in pieces(LARGE_PIECES):
            most = max(most, memory())
            yield piece

    async with gateway_to(counter, backend, spool=10**9) as (_, client):
        assert (await client.post(PATH, content=pieces(2), headers=OCTETS)).status_code == 200
        before = memory()
        assert (await client.post(PATH, content=watched(), headers=OCTETS)).status_code == 200
    assert backend.size == LARGE_PIECES * len(PIECE)
    assert most - before < 20_000_000
