"""Upstream by HTTP/1.1 (RFC 9112) on connections of our own, which are kept and used again."""

import ssl

from gateway.upstream.connection import Connection
from gateway.upstream.connector import Connector
from gateway.upstream.exchange import Exchange
from gateway.upstream.kept_connections import KeptConnections
from gateway.upstream.origin import place_of
from gateway.upstream.sending import head_of
from gateway.upstream.upstream import Answer, Request, UpstreamUnreachable


class Http11Upstream:
    """As many connections as there are requests at a time: how many there may be is not decided here.

    Proxies that the environment names are not used. Compressed answers are unpacked, others are as they came.
    """

    def __init__(self, connect_timeout: float, trust: ssl.SSLContext | None = None) -> None:
        """Take the seconds for a connection, and whom to trust; None: those whom this machine trusts."""
        self._connector = Connector(connect_timeout, trust)
        self._connections = KeptConnections()

    async def send(self, request: Request) -> Answer:
        place = place_of(request.url)
        head = head_of(request, place)
        kept = self._connections.take(place.origin)
        if kept is not None:
            exchange = _begin(kept, head, request)
            try:
                return await _answered(exchange)
            except UpstreamUnreachable:
                # A kept connection that the backend closed just now says nothing about the backend: the request was
                # not answered, and RFC 9112, 9.3.1 lets it be sent again on a new one.
                if exchange.begun or not (isinstance(request.body, bytes) or request.body.repeatable):
                    raise
        connection = await self._connector.connect(place.origin, lambda: Connection(place.origin, self._connections))
        self._connections.add(connection)
        return await _answered(_begin(connection, head, request))

    async def close(self) -> None:
        await self._connections.close()


def _begin(connection: Connection, head: bytes, request: Request) -> Exchange:
    return connection.begin(head, request.body, head_only=request.method == "HEAD")


async def _answered(exchange: Exchange) -> Exchange:
    try:
        await exchange.head()
    except BaseException:
        exchange.close()
        raise
    return exchange
