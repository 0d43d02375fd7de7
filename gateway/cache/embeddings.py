"""Vectors of texts, from a deployment of embeddings, asked through the gateway itself.

So the call is balanced, limited and charged to the subscription like any other.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from math import sqrt, sumprod
from typing import Any, Final

import msgspec

from gateway.answers.relay import Send
from gateway.identity.callers import SCOPE_KEY, Caller
from gateway.requests.bodies import NOT_JSON, Receive

type App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

DIMENSIONS: Final = 256
"""The text-embedding-3 models give vectors of any length; a short one keeps what tells texts apart."""

PATH: Final = "/openai/v1/embeddings"
ANSWER_SECONDS: Final = 3.0
MOST_RUNNING: Final = 256


class EmbeddingFailed(Exception):
    """There is no vector of the text now; the message holds nothing of it."""


class _Embedding(msgspec.Struct):
    embedding: list[float]


class _Answer(msgspec.Struct):
    data: list[_Embedding]


_decode = msgspec.json.Decoder(_Answer).decode


class Embeddings:
    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    async def vector(self, app: App, caller: Caller, deployment: str, text: str) -> list[float]:
        """Return the text's unit vector, asked of `app` on behalf of `caller`. Raises EmbeddingFailed.

        The call outlives this one until its usage is published.
        """
        if len(self._running) >= MOST_RUNNING:
            raise EmbeddingFailed("too many embeddings are being made")
        body = msgspec.json.encode({"model": deployment, "input": text, "dimensions": DIMENSIONS})
        exchange = _Exchange(body)
        task = asyncio.get_running_loop().create_task(exchange.run(app, _scope(caller, body)), name="embedding")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                status, answer = await exchange.answer
        except TimeoutError as error:
            raise EmbeddingFailed(f"no embedding within {ANSWER_SECONDS:g} seconds") from error
        finally:
            exchange.over.set()
        if status != 200:
            raise EmbeddingFailed(f"the deployment {deployment} answered {status}")
        return _unit_vector(answer)

    async def close(self) -> None:
        await asyncio.gather(*self._running)


class _Exchange:
    """One call of an ASGI application; `answer` is status and body, `over` tells it that nobody waits any more."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body
        self._status = 0
        self._parts: list[bytes] = []
        self.over = asyncio.Event()
        self.answer: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()

    async def run(self, app: App, scope: MutableMapping[str, Any]) -> None:
        await app(scope, self._receive, self._send)
        if not self.answer.done():
            self.answer.set_result((0, b""))

    async def _receive(self) -> MutableMapping[str, Any]:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self.over.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            return
        self._parts.append(message.get("body", b""))
        if not message.get("more_body", False) and not self.answer.done():
            self.answer.set_result((self._status, b"".join(self._parts)))


def _scope(caller: Caller, body: bytes) -> MutableMapping[str, Any]:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    return {
        "type": "http",
        "method": "POST",
        "path": PATH,
        "raw_path": PATH.encode(),
        "query_string": b"",
        "headers": headers,
        SCOPE_KEY: caller,
    }


def _unit_vector(answer: bytes) -> list[float]:
    try:
        vector = _decode(answer).data[0].embedding
    except (*NOT_JSON, IndexError) as error:
        raise EmbeddingFailed("the answer holds no vector") from error
    length = sqrt(sumprod(vector, vector))
    if not length:
        raise EmbeddingFailed("the vector is zero")
    return [value / length for value in vector]
