"""A look-alike that answers about tickets: `python -m bench.ticket_upstream`, stops at end of stdin.

What a model says has to fit the question, so each kind of question, by the name of its schema, goes to a simulated
backend once; from then on its answer comes from memory. Prints its two ports on one line.
"""

import asyncio
import http.client
import re
import sys
from typing import Final

import uvloop

from bench.upstream import HEADERS, LookAlike
from local.simulator.server import serve as simulator
from local.simulator.settings import BackendSettings, Deployment

KEY: Final = "bench"
MODELS: Final = {"gpt-4o-mini": "gpt-4o-mini", "text-embedding-3-small": "text-embedding-3-small"}
SCHEMA: Final = re.compile(rb'"json_schema": *\{"name": *"([\w-]+)"')
SECONDS: Final = 30


class TicketLookAlike(LookAlike):
    """`known` holds whole answers by kind of question, and is shared by all connections."""

    def __init__(self, loop: asyncio.AbstractEventLoop, backend: int, known: dict[bytes, bytes]) -> None:
        super().__init__(loop)
        self._loop = loop
        self._backend = backend
        self._known = known
        self._asking: set[asyncio.Task[None]] = set()

    def answer(self, head: bytes, body: bytes) -> None:
        schema = SCHEMA.search(body)
        kind = schema[1] if schema else head.split(b" ", 2)[1]
        if kind in self._known:
            self.write(self._known[kind])
            return
        asking = self._loop.create_task(self._ask(kind, head, body))
        self._asking.add(asking)
        asking.add_done_callback(self._asking.discard)

    async def _ask(self, kind: bytes, head: bytes, body: bytes) -> None:
        path = head.split(b" ", 2)[1].decode()
        answer = await self._loop.run_in_executor(None, forwarded, self._backend, path, body)
        self._known[kind] = answer
        self.write(answer)


def forwarded(port: int, path: str, body: bytes) -> bytes:
    """Return the simulated backend's answer as the look-alike writes it. Raises OSError."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request("POST", path, body, {"api-key": KEY, "content-type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise OSError(f"the simulated backend answered {answer.status} to {path}: {content[:200]!r}")
    finally:
        connection.close()
    return HEADERS + b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(content), content)


async def serve() -> None:
    loop = asyncio.get_running_loop()
    known: dict[bytes, bytes] = {}
    deployments = {name: Deployment(model=model) for name, model in MODELS.items()}
    async with simulator(BackendSettings(name="bench", api_key=KEY, deployments=deployments)) as backend:
        servers = [
            await loop.create_server(lambda: TicketLookAlike(loop, backend.port, known), "127.0.0.1", 0, backlog=1024)
            for _ in range(2)
        ]
        print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
        await loop.run_in_executor(None, sys.stdin.read)
        for server in servers:
            server.close()


if __name__ == "__main__":
    uvloop.run(serve())
