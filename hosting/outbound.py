"""Requests to hosts that callers name, by aiohttp: a name is resolved once, and what was checked is connected to.

A name that resolves to a public address when it is asked for, and to 127.0.0.1 when it is connected to (DNS rebinding),
gets nowhere: the connector connects to the addresses that the resolver of ours returns, and to no others. TLS checks
the certificate against the name all the same. The environment's proxies are not used: a proxy would resolve anew.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from enrichment.jobs.addresses import is_public
from enrichment.jobs.outbound import LONGEST_ANSWER, AddressForbidden, Answer, OutboundError, Request, Unreachable

SECONDS: Final = 20.0
"""For one request from beginning to end, its resolution included."""

_LOOPBACK: Final = frozenset({"127.0.0.1", "::1"})
_RESOLUTIONS: Final = 4

type Lookup = Callable[[str, int], Sequence[str]]
"""Host and port -> the addresses of the host, in numbers; blocks, and raises OSError."""


def addresses_of(host: str, port: int) -> Sequence[str]:
    """Ask the system's resolver. Raises OSError."""
    return [str(address[0]) for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class AiohttpOutbound:
    """An Outbound, in which each request has a connection of its own.

    `allowed` tells by an address in numbers whether it may be called; `trust` says whose certificates are believed.
    """

    def __init__(
        self,
        *,
        seconds: float = SECONDS,
        allowed: Callable[[str], bool] = is_public,
        lookup: Lookup = addresses_of,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self._seconds = seconds
        self._allowed = allowed
        self._lookup = lookup
        self._trust = trust
        # Threads of its own: names that resolve slowly are a caller's choice, and must not hold up anything else.
        self._threads = ThreadPoolExecutor(_RESOLUTIONS, thread_name_prefix="outbound")

    async def send(self, request: Request) -> Answer:
        allowed = _LOOPBACK.__contains__ if request.loopback else self._allowed
        resolver = _Checked(allowed, self._lookup, self._threads)
        url = URL(request.url, encoded=True)
        if _is_address(url.host or "") and not allowed(url.host or ""):
            raise AddressForbidden(f"{url.host} is not a public address")
        try:
            async with asyncio.timeout(self._seconds), self._session(resolver, await self._trusted()) as session:
                return await _exchanged(session, request, url)
        except OutboundError:
            raise
        except TimeoutError as late:
            raise Unreachable(f"{url.host} did not answer within {self._seconds:g} s") from late
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unreachable(f"{url.host} cannot be reached: {type(error).__name__}") from error

    async def _trusted(self) -> ssl.SSLContext:
        if self._trust is None:
            # Not as the app starts: reading the system's certificates takes 20 milliseconds and more.
            loop = asyncio.get_running_loop()
            self._trust = await loop.run_in_executor(self._threads, ssl.create_default_context)
        return self._trust

    def _session(self, resolver: AbstractResolver, trust: ssl.SSLContext) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False, force_close=True, ssl=trust),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),  # one of our own covers more
            trust_env=False,
            auto_decompress=False,
            headers={"user-agent": "Tollgate", "accept-encoding": "identity"},
        )

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


async def _exchanged(session: aiohttp.ClientSession, request: Request, url: URL) -> Answer:
    async with session.request(
        request.method, url, data=request.body or None, headers=dict(request.headers), allow_redirects=False
    ) as answer:
        body = await answer.content.read(LONGEST_ANSWER)
        while len(body) < LONGEST_ANSWER and (more := await answer.content.read(LONGEST_ANSWER - len(body))):
            body += more
        return Answer(answer.status, {name.lower(): value for name, value in answer.headers.items()}, body)


class _Checked(AbstractResolver):
    """Resolves a name, and gives nothing where even one of its addresses may not be called."""

    def __init__(self, allowed: Callable[[str], bool], lookup: Lookup, threads: ThreadPoolExecutor) -> None:
        self._allowed = allowed
        self._lookup = lookup
        self._threads = threads

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 - the connector asks for all of them
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        addresses = dict.fromkeys(await loop.run_in_executor(self._threads, self._lookup, host, port))
        if not all(map(self._allowed, addresses)):
            raise AddressForbidden(f"{host} leads to an address that is not public")
        return [_result(host, address, port) for address in addresses]

    async def close(self) -> None:
        return


def _result(host: str, address: str, port: int) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=flags)


def _is_address(host: str) -> bool:
    """Tell whether a URL's host is no name, to any parser there is: it has a colon, or its last label is a number."""
    last = host.rstrip(".").rpartition(".")[2].lower()
    return ":" in host or last.isdecimal() or re.fullmatch(r"0x[0-9a-f]*", last) is not None
