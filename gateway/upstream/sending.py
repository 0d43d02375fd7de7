"""Requests as bytes (RFC 9112, 3 and 6): the head at once, a body that is sent as it comes piece by piece."""

from typing import Final, Protocol

from gateway.upstream.origin import Place
from gateway.upstream.upstream import Body, Request

BODILESS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods whose requests say nothing of a body that they do not have; others say that it is empty (RFC 9110, 8.6)."""

WRITTEN_AT_ONCE: Final = 65_536
"""Bytes: up to here copying a body behind its head costs less than a second write."""


class Writer(Protocol):
    def write(self, data: bytes) -> None: ...

    async def drained(self) -> bool:
        """Return when more can be written; False where nothing can be any more."""
        ...


def head_of(request: Request, place: Place) -> bytes:
    """Return the request line and the header, whose framing follows the body.

    Raises ValueError for a field that would be read as more than one, or is not Latin-1.
    """
    lines = [request.method + place.line]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    if framing := _framing(request):
        lines.append(framing)
    text = "\r\n".join(lines)
    if text.count("\n") != len(lines) or text.count("\r") != len(lines) or "\0" in text:
        # The place's line holds a line end of its own, which makes up for the one that the last line has not yet.
        raise ValueError("a header field for a backend holds a line end")
    return (text + "\r\n\r\n").encode("latin-1")


def _framing(request: Request) -> str:
    body = request.body
    length = len(body) if isinstance(body, bytes) else body.length
    if length is None:
        return "transfer-encoding: chunked"
    if length == 0 and request.method in BODILESS:
        return ""
    return f"content-length: {length}"


def write_whole(writer: Writer, head: bytes, body: bytes) -> None:
    if len(body) <= WRITTEN_AT_ONCE:
        writer.write(head + body)
    else:
        writer.write(head)
        writer.write(body)


async def write_pieces(writer: Writer, body: Body) -> None:
    """Write a body as it comes, no faster than it leaves.

    Raises what the body raises, and ValueError where it is not as long as it says: the connection must not be used
    again then, for the backend would take the difference for another request.
    """
    length = body.length
    sent = 0
    async for piece in body:
        if not piece:
            continue
        sent += len(piece)
        if length is None:
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        elif sent > length:
            raise ValueError(f"the body is longer than the {length} bytes that it was to have")
        else:
            writer.write(piece)
        if not await writer.drained():
            return
    if length is None:
        writer.write(b"0\r\n\r\n")
    elif sent < length:
        raise ValueError(f"the body has {sent} bytes and was to have {length}")
