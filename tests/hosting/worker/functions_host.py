"""The part of the Functions host in front of the worker library: `python functions_host.py FOLDER`.

Listens on a free port, which it prints as JSON. With HTTP streams it passes each request's bytes to the worker's own
server, marked with the invocation's id, beside the invocation itself; without, it sends them as one message. Paths
under `/test-host/` are its own: invocations' results, event batches, a timer's tick, what the worker keeps.
Ends with its input.
"""

import asyncio
import contextlib
import json
import sys
import uuid
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.hosting.worker.protos import StatusResult, TypedData
from tests.hosting.worker.worker import Worker


class FunctionsHost:
    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._results: list[bool] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection: one request."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
            if target.startswith("/test-host/"):
                await self._control(target, head, reader, writer)
            elif self._worker.http_uri:
                await self._stream(head, reader, writer)
            else:
                await self._buffer(method, target, head, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _stream(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        invocation_id = str(uuid.uuid4())
        empty = SimpleNamespace(method="", url="", headers={}, body=TypedData(), params={}, query={})
        invocation = asyncio.create_task(
            self._worker.invoke("http_app", {"req": TypedData(http=empty)}, invocation_id=invocation_id)
        )
        address = urlsplit(self._worker.http_uri)
        upstream_reader, upstream_writer = await _connected(str(address.hostname), int(address.port or 0))
        marked = f"x-ms-invocation-id: {invocation_id}\r\nconnection: close\r\n\r\n".encode()
        upstream_writer.write(head[:-2] + marked)
        sending = asyncio.create_task(_relay(reader, upstream_writer, close=True))
        receiving = asyncio.create_task(_relay(upstream_reader, writer, close=False))
        await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_COMPLETED)
        upstream_writer.close()
        for task in (sending, receiving):
            task.cancel()
        await asyncio.gather(sending, receiving, return_exceptions=True)
        self._note(await invocation)

    async def _buffer(
        self, method: str, target: str, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        headers = _headers(head)
        body = await _body(headers, reader)
        request = SimpleNamespace(
            method=method,
            url=f"http://{headers.get('host', 'localhost')}{target}",
            headers=headers,
            body=TypedData(bytes=body) if body else TypedData(),
            params={"path": urlsplit(target).path.lstrip("/")},
            query=dict(parse_qsl(urlsplit(target).query)),
        )
        answer = await self._worker.invoke("http_app", {"req": TypedData(http=request)})
        self._note(answer)
        if answer.result.status != StatusResult.Success:
            await _write(writer, 500, [], b"")
            return
        http = answer.return_value.http
        sent = [*http.headers.items(), *(("set-cookie", f"{c.name}={c.value}") for c in http.cookies or [])]
        await _write(writer, int(http.status_code), sent, getattr(http.body, "bytes", b"") or b"")

    async def _control(
        self, target: str, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        answer: Any
        if target == "/test-host/invocations":
            answer = self._results
        elif target == "/test-host/references":
            answer = _references()
        elif target == "/test-host/tick":
            answer = (await self._worker.tick()).result.status == StatusResult.Success
        else:
            batch = json.loads(await _body(_headers(head), reader))
            result = await self._worker.deliver(
                [bytes.fromhex(body) for body in batch["bodies"]], batch["partition"], batch["first"], batch["retry"]
            )
            answer = {"succeeded": result.result.status == StatusResult.Success}
        await _write(writer, 200, [("content-type", "application/json")], json.dumps(answer).encode())

    def _note(self, answer: Any) -> None:
        self._results.append(answer.result.status == StatusResult.Success)


async def _connected(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect, for as long as the worker's server may take to come up."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await asyncio.open_connection(host, port)
            except ConnectionError:
                await asyncio.sleep(0.01)


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, close: bool) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    if close:
        writer.close()


def _references() -> int:
    from azure_functions_runtime.http_v2 import http_coordinator  # noqa: PLC0415 - there only after indexing

    return len(http_coordinator._context_references)


def _headers(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:-2]
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


async def _body(headers: dict[str, str], reader: asyncio.StreamReader) -> bytes:
    return await reader.readexactly(int(headers.get("content-length", "0")))


async def _write(writer: asyncio.StreamWriter, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
    kept = [(name, value) for name, value in headers if name.lower() not in {"content-length", "connection"}]
    framing = [("content-length", str(len(body))), ("connection", "close")]
    lines = [f"HTTP/1.1 {status} Status", *(f"{name}: {value}" for name, value in [*kept, *framing])]
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
    await writer.drain()


def _functions(worker: Worker) -> dict[str, Any]:
    return {
        name: {
            "bindings": [json.loads(binding) for binding in function.raw_bindings],
            "max_retries": function.retry_options.max_retry_count if function.retry_options else None,
        }
        for name, function in worker.functions.items()
    }


async def _main(directory: str) -> None:
    worker = Worker()
    await worker.start(directory)
    server = await asyncio.start_server(FunctionsHost(worker).serve, "127.0.0.1", 0)
    ready = {"port": server.sockets[0].getsockname()[1], "functions": _functions(worker)}
    print(json.dumps(ready), flush=True)  # noqa: T201 - the ready line
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main(sys.argv[1]))
