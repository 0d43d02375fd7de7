"""New connections to backends: the look-up of a name, TCP and TLS, all within one time-out."""

import asyncio
import ipaddress
import ssl
from collections.abc import Callable
from socket import SOCK_STREAM
from typing import Final

from gateway.upstream.connection import Connection
from gateway.upstream.origin import Origin
from gateway.upstream.upstream import UpstreamUnreachable

LOOKUP_SECONDS: Final = 10.0
"""For how long the addresses of a name are remembered."""


class _Name:
    """A name's addresses; whoever comes while they are looked up waits for that one look-up."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self.until = 0.0
        self.lock = asyncio.Lock()


class Connector:
    def __init__(self, seconds: float, trust: ssl.SSLContext | None) -> None:
        """Take the time for a connection, and whom to trust; None: those whom this machine trusts."""
        self._seconds = seconds
        self._trust = trust
        self._trusting = asyncio.Lock()
        self._names: dict[str, _Name] = {}

    async def connect(self, origin: Origin, make: Callable[[], Connection]) -> Connection:
        """Return a connection on which TLS, where it is wanted, is agreed on. Raises UpstreamUnreachable."""
        try:
            async with asyncio.timeout(self._seconds) as limit:
                return await self._connected(origin, make, limit)
        except TimeoutError as error:
            raise UpstreamUnreachable(f"no connection within {self._seconds:g} seconds") from error
        except (OSError, UnicodeError) as error:
            raise UpstreamUnreachable(f"no connection: {type(error).__name__}") from error

    async def _connected(self, origin: Origin, make: Callable[[], Connection], limit: asyncio.Timeout) -> Connection:
        loop = asyncio.get_running_loop()
        trust = await self._context() if origin.tls else None
        addresses = await self._addresses(origin)
        for place, address in enumerate(addresses, 1):
            # An address that does not answer must leave time for those after it.
            end = limit.when() or loop.time()
            share = (end - loop.time()) / (len(addresses) - place + 1)
            try:
                async with asyncio.timeout(share):
                    _, connection = await loop.create_connection(
                        make, address, origin.port, ssl=trust, server_hostname=origin.host if trust else None
                    )
                    return connection
            except OSError:
                if place == len(addresses):
                    raise
        raise UpstreamUnreachable("no connection: the backend's name has no address")

    async def _addresses(self, origin: Origin) -> list[str]:
        if _is_address(origin.host):
            return [origin.host]
        loop = asyncio.get_running_loop()
        name = self._names.setdefault(origin.host, _Name())
        async with name.lock:
            if loop.time() >= name.until:
                found = await loop.getaddrinfo(origin.host, origin.port, type=SOCK_STREAM)
                name.addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
                name.until = loop.time() + LOOKUP_SECONDS
            return name.addresses

    async def _context(self) -> ssl.SSLContext:
        # To read this machine's certificates takes a tenth of a second, in which nobody else should have to wait.
        async with self._trusting:
            if self._trust is None:
                self._trust = await asyncio.to_thread(_default_trust)
            return self._trust


def _default_trust() -> ssl.SSLContext:
    trust = ssl.create_default_context()
    trust.set_alpn_protocols(["http/1.1"])
    return trust


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
