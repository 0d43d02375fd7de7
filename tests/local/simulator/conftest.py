"""A running simulator, the real SDK's clients for it, and a raw connection to see what the SDK hides."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI

from local.simulator.server import Simulator, serve
from local.simulator.settings import VOCABULARIES, BackendSettings, Deployment
from local.simulator.tokens import Tokenizer, Tokenizers

KEY = "made-up-key"
DEPLOYMENTS = {
    "gpt-4o": Deployment(model="gpt-4o-2024-11-20"),
    "o4-mini": Deployment(model="o4-mini-2025-04-16"),
    "embed": Deployment(model="text-embedding-3-small"),
    "small": Deployment(model="gpt-4o-2024-11-20", tokens_per_minute=100, requests_per_minute=5),
}


@dataclass(frozen=True)
class Reading:
    """Everything a connection gave until it ended; `reset` says that it ended by RST."""

    data: bytes
    reset: bool

    @property
    def status(self) -> int:
        return int(self.data.split(b" ", 2)[1])

    @property
    def events(self) -> list[bytes]:
        """The SSE events of a chunked body."""
        return [line for line in self.data.splitlines() if line.startswith(b"data: ")]

    @property
    def complete(self) -> bool:
        return self.data.endswith(b"\r\n0\r\n\r\n")


type Post = Callable[..., Awaitable[Reading]]
type Until = Callable[[Callable[[], object]], Awaitable[None]]


@pytest.fixture(scope="session")
def tokenizers() -> Tokenizers:
    return Tokenizers(VOCABULARIES)


@pytest.fixture
def tokenizer(tokenizers: Tokenizers) -> Tokenizer:
    return tokenizers.of("gpt-4o")


@pytest.fixture
def settings() -> BackendSettings:
    return BackendSettings(name="east", api_key=KEY, deployments=DEPLOYMENTS, bearer_tokens=("a-token",))


@pytest.fixture
async def simulator(settings: BackendSettings, tokenizers: Tokenizers) -> AsyncIterator[Simulator]:
    async with serve(settings, tokenizers=tokenizers) as running:
        yield running


@pytest.fixture
async def azure(simulator: Simulator) -> AsyncIterator[AsyncAzureOpenAI]:
    async with AsyncAzureOpenAI(
        azure_endpoint=simulator.url, api_key=KEY, api_version="2024-10-21", max_retries=0, timeout=10
    ) as client:
        yield client


@pytest.fixture
async def v1(simulator: Simulator) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{simulator.url}/openai/v1/", api_key=KEY, max_retries=0, timeout=10) as client:
        yield client


@pytest.fixture
def until() -> Until:
    """Wait for something that the simulator does by itself, at most 5 s."""

    async def wait(happened: Callable[[], object]) -> None:
        async with asyncio.timeout(30):
            while not happened():
                await asyncio.sleep(0.005)

    return wait


@pytest.fixture
def post(simulator: Simulator) -> Post:
    """POST a JSON body over a connection of its own and read until the other side ends it."""

    async def send(path: str, document: Any, headers: str = f"api-key: {KEY}\r\n") -> Reading:
        body = json.dumps(document).encode()
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_connection("127.0.0.1", simulator.port)
            head = f"POST {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{headers}"
            writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
            data, reset = b"", False
            try:
                while part := await reader.read(65536):
                    data += part
            except ConnectionResetError:
                reset = True
            writer.close()
            try:
                await writer.wait_closed()
            except ConnectionResetError:
                reset = True
        return Reading(data, reset)

    return send
