"""How the Azure implementation meets a service that does not answer, and how it is opened."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError
from azure.data.tables.aio import TableClient

from hosting.tables import AZURITE, AzureTable, AzureTables
from seams.tables import Entity, Insert, TableUnavailable, Upsert


def at_port(port: int) -> str:
    return AZURITE.replace(":10002", f":{port}")


@asynccontextmanager
async def server(answer: bytes) -> AsyncIterator[int]:
    """Run a server that reads a request's head and then answers these bytes, or nothing."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    running = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield running.sockets[0].getsockname()[1]
    finally:
        running.close()
        running.close_clients()
        await running.wait_closed()


async def test_closed_port_is_unavailable() -> None:
    """A refused connection is TableUnavailable, well inside the time-out."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    tables = AzureTables.by_connection_string(at_port(port), timeout=5)
    begin = time.monotonic()

    with pytest.raises(TableUnavailable):
        await tables.table("rows")

    assert time.monotonic() - begin < 4
    await tables.close()


async def test_silent_service_is_unavailable_within_the_time_out() -> None:
    """A service that accepts and never answers is given up on time, and by all who wait."""
    async with server(b"") as port:
        tables = AzureTables.by_connection_string(at_port(port), timeout=0.3)
        begin = time.monotonic()
        results = await asyncio.gather(*[tables.table("rows") for _ in range(3)], return_exceptions=True)
        took = time.monotonic() - begin
        await tables.close()

    assert [type(result) for result in results] == [TableUnavailable] * 3
    assert 0.25 < took < 2


@pytest.mark.parametrize("status", ["500 Internal Server Error", "503 Server Busy", "403 Forbidden"])
async def test_failing_service_is_unavailable(status: str) -> None:
    """The service's own faults, and a right that is missing, are TableUnavailable."""
    async with server(f"HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n".encode()) as port:
        tables = AzureTables.by_connection_string(at_port(port), timeout=5)
        with pytest.raises(TableUnavailable, match=status[:3]):
            await tables.table("rows")
        await tables.close()


@pytest.mark.parametrize("host", ["mine.table.cosmos.azure.com", "mine.table.core.windows.net"])
async def test_rows_of_cosmos_are_put_in_order(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cosmos DB yields rows as they lie; asked for in order they are sorted, which Table storage does itself."""
    rows = [{"PartitionKey": partition, "RowKey": row} for partition, row in ("qa", "pb", "pa", "qb")]
    body = json.dumps({"value": rows}).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with server(head + body) as port:
        client = TableClient.from_connection_string(at_port(port), "rows")
        monkeypatch.setattr(TableClient, "url", f"https://{host}")
        table = AzureTable(client, timeout=5)
        as_they_come = [entity.partition + entity.row async for entity in table.query()]
        in_order = [entity.partition + entity.row async for entity in table.query(in_order=True)]
        await client.close()

    assert as_they_come == ["qa", "pb", "pa", "qb"]
    assert in_order == (sorted(as_they_come) if "cosmos" in host else as_they_come)


async def test_cancelled_caller_does_not_fail_the_others() -> None:
    """Of two that wait for the same table, one may go away."""
    async with server(b"HTTP/1.1 204 No Content\r\nx-ms-version: 2019-02-02\r\n\r\n") as port:
        tables = AzureTables.by_connection_string(at_port(port), timeout=5)
        leaver = asyncio.create_task(tables.table("rows"))
        stayer = asyncio.create_task(tables.table("rows"))
        await asyncio.sleep(0)
        leaver.cancel()

        opened = await stayer

        assert await tables.table("rows") is opened
        await tables.close()


async def test_close_ends_an_opening() -> None:
    """Closing while a table is being opened leaves no task behind."""
    async with server(b"") as port:
        tables = AzureTables.by_connection_string(at_port(port), timeout=5)
        waiting = asyncio.create_task(tables.table("rows"))
        await asyncio.sleep(0)
        await tables.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting


async def test_deleted_table_is_unavailable_not_empty(azurite: str) -> None:
    """Reads and writes of a table that somebody deleted do not look like missing rows."""
    tables = AzureTables.by_connection_string(azurite)
    table = await tables.table("deletedunderus")
    await tables._service.delete_table("deletedunderus")

    with pytest.raises(TableUnavailable, match="deleted"):
        await table.get("p", "r")
    with pytest.raises(TableUnavailable, match="deleted"):
        await table.transact([Upsert(Entity("p", "r"))])
    with pytest.raises(TableUnavailable):
        await table.transact([Insert(Entity("p", "r")), Insert(Entity("p", "s"))])

    await tables.close()


@pytest.mark.parametrize("short", ["UseDevelopmentStorage=true", "usedevelopmentstorage = True;"])
async def test_development_storage_is_azurite(short: str) -> None:
    """The Functions host's short connection string reaches Azurite's usual port."""
    tables = AzureTables.by_connection_string(short)

    assert tables._service.url == "http://127.0.0.1:10002/devstoreaccount1"
    await tables.close()


async def test_wrong_connection_string_is_a_value_error() -> None:
    """A string that names no account is refused when it is opened."""
    with pytest.raises(ValueError, match="onnection string"):
        AzureTables.by_connection_string("nonsense")


class NoCredential:
    async def get_token(self, *scopes: str, **_: object) -> AccessToken:
        raise ClientAuthenticationError("no identity here")

    async def close(self) -> None: ...

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...


async def test_identity() -> None:
    """An account is reached by name over https, and an identity that gives no token is TableUnavailable."""
    tables = AzureTables.by_identity("contoso", NoCredential(), suffix="core.usgovcloudapi.net")

    assert tables._service.url == "https://contoso.table.core.usgovcloudapi.net"
    with pytest.raises(TableUnavailable, match="no identity here"):
        await tables.table("rows")
    await tables.close()
