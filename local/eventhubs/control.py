"""The stand-in told what to do, by HTTP on its own port: `curl 127.0.0.1:PORT/faults -d '{"drop_acks": 0.1}'`.

GET /faults shows the faults of the moment, PUT or POST sets all of them anew, DELETE ends them; GET /counts shows what
was done so far. AMQP begins with its own header, so one port serves both.
"""

import asyncio
import re
from typing import Final

import msgspec

from local.eventhubs.broker import Broker
from local.eventhubs.faults import NO_FAULTS, Faults

METHODS: Final = (b"GET ", b"PUT ", b"POST", b"DELE")
_SECONDS: Final = 5.0
_MAX_BODY: Final = 16 * 1024
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d{1,6})", re.IGNORECASE)
_REASONS: Final = {200: "OK", 400: "Bad Request", 404: "Not Found", 413: "Content Too Large"}


async def answer_control(
    broker: Broker, beginning: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Answer one request, whose first bytes were read already, and close."""
    try:
        async with asyncio.timeout(_SECONDS):
            head = beginning + await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            size = int(length[1]) if length else 0
            body = b"" if size > _MAX_BODY else await reader.readexactly(size)
            status, document = (413, {}) if size > _MAX_BODY else _act(broker, head, body)
            content = msgspec.json.encode(document) + b"\n"
            writer.write(
                f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n".encode()
                + content
            )
            await writer.drain()
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        pass  # whoever asked is gone, or speaks no HTTP
    finally:
        writer.close()


def _act(broker: Broker, head: bytes, body: bytes) -> tuple[int, object]:
    method, _, rest = head.partition(b" ")
    match method, rest.partition(b" ")[0]:
        case b"GET", b"/faults":
            return 200, broker.trouble.faults
        case b"PUT" | b"POST", b"/faults":
            try:
                broker.trouble.change(msgspec.json.decode(body, type=Faults))
            except msgspec.DecodeError as wrong:
                return 400, {"error": str(wrong)}
            return 200, broker.trouble.faults
        case b"DELETE", b"/faults":
            broker.trouble.change(NO_FAULTS)
            return 200, broker.trouble.faults
        case b"GET", b"/counts":
            return 200, broker.counts
    return 404, {"error": "there is /faults and /counts"}
