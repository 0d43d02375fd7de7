"""A gateway that answers as a test says: OpenAI-shaped, JSON, or streamed step by step."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from starlette.types import Receive, Scope, Send

from enrichment.calls.calls import ModelCall

type Reply = Callable[[Receive, Send], Awaitable[None]]

PATIENCE_SECONDS = 5.0


@dataclass
class FakeGateway:
    """An OpenAI-shaped ASGI app. `requests` are the scopes and bodies that came.

    `reply` answers; without it `answers` do, by the name of the schema that is asked for, or as `embeddings`: a Reply,
    the text of a completion, or what becomes one as JSON. What is not among them is refused.
    """

    reply: Reply | None = None
    answers: dict[str, Any] = field(default_factory=dict)
    requests: list[tuple[Scope, dict[str, Any]]] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                break
        asked = json.loads(body)
        self.requests.append((scope, asked))
        self.asked.set()
        try:
            await (self.reply or self._answer(asked))(receive, send)
        finally:
            self.ended.set()

    def asked_of(self, name: str) -> list[dict[str, Any]]:
        """Return the bodies that asked for the schema of this name."""
        return [body for _, body in self.requests if _name_of(body) == name]

    def _answer(self, asked: dict[str, Any]) -> Reply:
        answer = self.answers.get(_name_of(asked))
        if callable(answer):
            reply: Reply = answer
            return reply
        if answer is None:
            return says(completion(None, refusal="I will not."))
        return says(completion(answer if isinstance(answer, str) else json.dumps(answer)))


def _name_of(asked: dict[str, Any]) -> str:
    named: str = asked["response_format"]["json_schema"]["name"] if "messages" in asked else "embeddings"
    return named


class PerToken:
    """A cent for each token, nothing known of what `no-price` used."""

    def cost(self, call: ModelCall) -> Decimal | None:
        if call.model == "no-price":
            return None
        return Decimal("0.01") * call.usage().total_tokens


def says(body: object, status: int = 200, headers: Iterable[tuple[bytes, bytes]] = ()) -> Reply:
    """A JSON answer, whole."""

    async def reply(_: Receive, send: Send) -> None:
        sent = [(b"content-type", b"application/json"), (b"x-request-id", b"req-1"), *headers]
        await send({"type": "http.response.start", "status": status, "headers": sent})
        await send({"type": "http.response.body", "body": json.dumps(body).encode()})

    return reply


def completion(content: str | None, finish_reason: str = "stop", **message: object) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [
            {
                "index": 0,
                "finish_reason": finish_reason,
                "message": {"role": "assistant", "content": content, **message},
            }
        ],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
    }


def delta(content: str | None = None, finish_reason: str | None = None, **more: object) -> bytes:
    """One chunk of a streamed completion as an SSE event."""
    choice = {"index": 0, "finish_reason": finish_reason, "delta": {"content": content, **more}}
    return sse({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]})


def sse(body: object) -> bytes:
    return b"data: " + json.dumps(body).encode() + b"\n\n"


FINISHED = (delta(finish_reason="stop"), b"data: [DONE]\n\n")


@dataclass
class Script:
    """A streamed answer that goes on one step for each `release`; `log` shows what happened in which order."""

    chunks: Iterable[bytes]
    gate: asyncio.Semaphore | None = None
    log: list[str] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, receive: Receive, send: Send) -> None:
        sent = [(b"content-type", b"text/event-stream"), (b"x-request-id", b"req-1")]
        await send({"type": "http.response.start", "status": 200, "headers": sent})
        writing = asyncio.create_task(self._write(send))
        watching = asyncio.create_task(self._watch(receive))
        await asyncio.wait((writing, watching), return_when=asyncio.FIRST_COMPLETED)
        for task in (writing, watching):
            task.cancel()
        await asyncio.gather(writing, watching, return_exceptions=True)

    async def _write(self, send: Send) -> None:
        for number, chunk in enumerate(self.chunks):
            if self.gate is not None:
                await self.gate.acquire()
            self.log.append(f"sent {number}")
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _watch(self, receive: Receive) -> None:
        assert (await receive())["type"] == "http.disconnect"
        self.left.set()
