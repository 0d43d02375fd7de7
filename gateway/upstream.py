"""How bytes get to a backend and back. One request, one answer; which backend and how often is not decided here.

UpstreamError
|- UpstreamUnreachable  no connection, or lost before the answer began: nothing was answered
|- UpstreamCut          lost in the middle of an answer
`- UpstreamNonsense     what came back is not HTTP
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import SimpleNamespace
from typing import Protocol

import aiohttp
from yarl import URL

READ_SIZE = 65_536

LONGEST_KEPT_URL = 1024
"""Characters; parsed URLs are remembered, and callers choose their query."""


class UpstreamError(Exception):
    """The exchange with a backend broke; the message is for logs and callers alike and holds no secret."""


class UpstreamUnreachable(UpstreamError):
    pass


class UpstreamCut(UpstreamError):
    pass


class UpstreamNonsense(UpstreamError):
    pass


class Body(Protocol):
    """A request's body that is sent as it comes; each iteration begins at its first byte.

    `length` is None where it is not known. `repeatable`: another iteration may begin. `fault` is what went wrong on the
    body's own side, if anything did.
    """

    @property
    def length(self) -> int | None: ...

    @property
    def repeatable(self) -> bool: ...

    @property
    def fault(self) -> Exception | None: ...

    def __aiter__(self) -> AsyncIterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class Request:
    """`url` is percent-encoded already; `headers` holds a credential and is kept out of every repr."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | Body = field(repr=False)


class Answer(Protocol):
    """A backend's answer whose head has come. Header names are as they were sent; `close` may be called twice."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Sequence[tuple[bytes, bytes]]: ...

    async def chunk(self) -> bytes:
        """Return the next bytes as soon as there are any, b"" at the end. Raises UpstreamCut."""
        ...

    def close(self) -> None:
        """Give the connection back where the answer has ended, else drop it, so that the backend stops working."""
        ...


def header(answer: Answer, name: bytes) -> bytes:
    """Return the value of a header, whose name is given in lower case; empty where there is none."""
    for each, value in answer.headers:
        if each.lower() == name:
            return value
    return b""


async def whole(answer: Answer, most: int) -> bytes:
    """Return all of an answer. Raises UpstreamNonsense past `most` bytes, and UpstreamCut."""
    parts: list[bytes] = []
    size = 0
    while part := await answer.chunk():
        parts.append(part)
        size += len(part)
        if size > most:
            raise UpstreamNonsense(f"the answer is larger than {most} bytes")
    return parts[0] if len(parts) == 1 else b"".join(parts)


class Upstream(Protocol):
    async def send(self, request: Request) -> Answer:
        """Send a request and return its answer's head.

        Time-outs are the caller's, but for the connection's own. Raises UpstreamUnreachable, UpstreamNonsense, and the
        fault of a body that is sent as it comes.
        """
        ...

    async def close(self) -> None: ...


class AiohttpUpstream:
    """Upstream on one aiohttp session; must be opened inside the running loop."""

    def __init__(self, connect_timeout: float) -> None:
        # `connect` has the look-up of the name in it, `sock_connect` each of its addresses alone.
        self._timeout = aiohttp.ClientTimeout(total=None, connect=connect_timeout, sock_connect=connect_timeout)
        self._session: aiohttp.ClientSession | None = None

    async def send(self, request: Request) -> Answer:
        session = self._session or self._open()
        attempt = SimpleNamespace(reused=False)
        try:
            return await _send(session, request, attempt)
        except UpstreamUnreachable:
            # A kept connection that the backend closed just now says nothing about the backend: the request was not
            # answered, and RFC 9112, 9.3.1 lets it be sent again on a new one.
            if not attempt.reused or not (isinstance(request.body, bytes) or request.body.repeatable):
                raise
        return await _send(session, request, attempt)

    def _open(self) -> aiohttp.ClientSession:
        trace = aiohttp.TraceConfig()
        trace.on_connection_reuseconn.append(_mark_reused)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, limit_per_host=0, keepalive_timeout=60),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._timeout,
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
            read_bufsize=READ_SIZE,
            trace_configs=[trace],
        )
        return self._session

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()
            await asyncio.sleep(0)


async def _send(session: aiohttp.ClientSession, request: Request, attempt: SimpleNamespace) -> Answer:
    body, headers = request.body, request.headers
    if not isinstance(body, bytes) and body.length is not None:
        headers = {**headers, "content-length": str(body.length)} if body.length else headers
        body = body if body.length else b""
    try:
        answer = await session.request(
            request.method,
            _url(request.url) if len(request.url) <= LONGEST_KEPT_URL else URL(request.url, encoded=True),
            data=body or None,
            headers=headers,
            allow_redirects=False,
            trace_request_ctx=attempt,
        )
    except aiohttp.ClientResponseError as error:
        raise UpstreamNonsense(f"the answer is not HTTP: {error.message}") from error
    except (aiohttp.ServerDisconnectedError, ConnectionResetError) as error:
        raise UpstreamUnreachable("the connection was closed before an answer") from error
    except (aiohttp.ClientError, OSError) as error:
        attempt.reused = False
        if not isinstance(body, bytes) and body.fault is not None:
            raise body.fault from error
        raise UpstreamUnreachable(f"no connection: {type(error).__name__}") from error
    return _AiohttpAnswer(answer)


async def _mark_reused(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
    context.trace_request_ctx.reused = True


class _AiohttpAnswer:
    __slots__ = ("_answer", "headers", "status")

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer
        self.status = answer.status
        self.headers: Sequence[tuple[bytes, bytes]] = answer.raw_headers

    async def chunk(self) -> bytes:
        try:
            return await self._answer.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise UpstreamCut("the connection was lost in the middle of the answer") from error

    def close(self) -> None:
        if self._answer.content.at_eof():
            self._answer.release()
        else:
            self._answer.close()


@lru_cache(maxsize=4096)
def _url(url: str) -> URL:
    return URL(url, encoded=True)
