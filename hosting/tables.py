"""Azure Table storage (and Cosmos DB's Table API) behind `seams.tables`, by azure-data-tables.

The only module that knows the storage SDK. Its errors become those of the seam:

    409, 412, 404 on a write    TableConflict, with the operation's index
    400, 413                    ValueError: what was sent breaks a limit of the service
    all else, and silence       TableUnavailable
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Self
from urllib.parse import urlsplit

from azure.core import MatchConditions
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import AzureError, HttpResponseError
from azure.data.tables import EdmType, EntityProperty, TableEntity, TableErrorCode, UpdateMode
from azure.data.tables.aio import TableClient, TableServiceClient

from seams.tables import (
    Delete,
    Entity,
    Insert,
    Operation,
    Replace,
    TableConflict,
    TableUnavailable,
    Upsert,
    Value,
    check_operations,
    part_of,
    sorted_rows,
)

# Published in "Use the Azurite emulator for local Azure Storage development": the same for everybody, no secret.
AZURITE: Final = (
    "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;"
    "AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;"
    "TableEndpoint=http://127.0.0.1:10002/devstoreaccount1;"
)
_TABLE_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{2,62}")
_INT32: Final = range(-(2**31), 2**31)
_IF_UNCHANGED: Final = MatchConditions.IfNotModified


class AzureTables:
    """A storage account's tables. `timeout` bounds each call in seconds, the SDK's own retry included."""

    def __init__(self, service: TableServiceClient, timeout: float = 10.0) -> None:
        self._service = service
        self._timeout = timeout
        self._tables: dict[str, AzureTable] = {}
        self._opening: dict[str, asyncio.Task[AzureTable]] = {}

    @classmethod
    def by_connection_string(cls, connection: str, timeout: float = 10.0) -> Self:
        """Open by a connection string; `UseDevelopmentStorage=true` means Azurite on its usual port.

        Raises ValueError where the string names no account.
        """
        # azure-data-tables, unlike the Functions host, does not know the short form.
        if connection.replace(" ", "").rstrip(";").lower() == "usedevelopmentstorage=true":
            connection = AZURITE
        return cls(TableServiceClient.from_connection_string(connection, **_options(timeout)), timeout)

    @classmethod
    def by_identity(
        cls, account: str, credential: AsyncTokenCredential, timeout: float = 10.0, suffix: str = "core.windows.net"
    ) -> Self:
        """Open an account by name. The credential stays its owner's to close; `suffix` is the cloud's."""
        endpoint = f"https://{account}.table.{suffix}"
        return cls(TableServiceClient(endpoint, credential=credential, **_options(timeout)), timeout)

    async def table(self, name: str) -> "AzureTable":
        """Return the table, created where it does not exist; raises ValueError for a name no service takes."""
        if not _TABLE_NAME.fullmatch(name):
            raise ValueError(f"not a table name: {name!r}")
        if (table := self._tables.get(name)) is not None:
            return table
        opening = self._opening.get(name)
        if opening is None:
            opening = self._opening[name] = asyncio.create_task(self._open(name), name=f"open table {name}")
            opening.add_done_callback(lambda task: self._opened(name, task))
        # One caller's cancellation must not fail the others that wait for the same table.
        return await asyncio.shield(opening)

    async def close(self) -> None:
        for opening in list(self._opening.values()):
            opening.cancel()
        await asyncio.gather(*self._opening.values(), return_exceptions=True)
        await self._service.close()

    async def _open(self, name: str) -> "AzureTable":
        client = await _answer(self._service.create_table_if_not_exists(name), self._timeout)
        return AzureTable(client, self._timeout)

    def _opened(self, name: str, opening: "asyncio.Task[AzureTable]") -> None:
        del self._opening[name]
        # Asking for the exception also marks it as seen when every waiter has been cancelled.
        if not opening.cancelled() and opening.exception() is None:
            self._tables[name] = opening.result()


class AzureTable:
    """One table; see `seams.tables.Table` for what each method promises."""

    def __init__(self, client: TableClient, timeout: float) -> None:
        self._client = client
        self._timeout = timeout

    async def get(self, partition: str, row: str) -> Entity | None:
        try:
            return _to_entity(await _answer(self._client.get_entity(partition, row), self._timeout))
        except TableConflict:  # a 404: of a read it means that there is no row
            return None

    def query(
        self,
        partition: str | None = None,
        first: str = "",
        end: str | None = None,
        columns: Sequence[str] | None = None,
        *,
        in_order: bool = False,
    ) -> AsyncIterator[Entity]:
        rows = self._query(partition, first, end, columns)
        return sorted_rows(rows) if in_order and _is_cosmos(self._client.url) else rows

    async def _query(
        self, partition: str | None, first: str, end: str | None, columns: Sequence[str] | None
    ) -> AsyncIterator[Entity]:
        clauses, parameters = ["RowKey ge @first"], {"first": first}
        if partition is not None:
            clauses.append("PartitionKey eq @partition")
            parameters["partition"] = partition
        if end is not None:
            clauses.append("RowKey lt @end")
            parameters["end"] = end
        selected = None if columns is None else ["PartitionKey", "RowKey", *columns]
        pages = self._client.query_entities(" and ".join(clauses), parameters=parameters, select=selected).by_page()
        while (page := await _answer(anext(pages, None), self._timeout)) is not None:
            async for row in page:
                entity = _to_entity(row)
                yield entity if columns is None else part_of(entity, columns)

    async def transact(self, operations: Sequence[Operation]) -> list[str | None]:
        check_operations(operations)
        # A plain conditional write costs the service and us less than a transaction of one. Not for Delete: the SDK
        # swallows the 404 of a single one, which callers must see.
        if len(operations) == 1 and not isinstance(operations[0], Delete):
            answers = [await _answer(self._write(operations[0]), self._timeout)]
        else:
            batch = [_in_transaction(operation) for operation in operations]
            answers = list(await _answer(self._client.submit_transaction(batch), self._timeout))
        return [
            None if isinstance(operation, Delete) else answer["etag"]
            for operation, answer in zip(operations, answers, strict=True)
        ]

    async def _write(self, operation: Insert | Replace | Upsert) -> Mapping[str, Any]:
        row = _to_row(operation.entity)
        match operation:
            case Insert():
                return await self._client.create_entity(row)
            case Replace():
                return await self._client.update_entity(
                    row, UpdateMode.REPLACE, etag=operation.entity.etag, match_condition=_IF_UNCHANGED
                )
            case Upsert():
                return await self._client.upsert_entity(row, UpdateMode.REPLACE)


def _is_cosmos(url: str) -> bool:
    """Tell Cosmos DB's Table API, which yields rows in no order, by its host: `{account}.table.cosmos.azure.com`."""
    return ".table.cosmos" in (urlsplit(url).hostname or "")


def _options(timeout: float) -> dict[str, Any]:
    # One quick retry absorbs a dropped keep-alive connection; longer waits belong to the triggers' retry policies.
    return {"retry_total": 1, "retry_backoff_factor": 0.1, "connection_timeout": timeout, "read_timeout": timeout}


async def _answer[T](call: Awaitable[T], timeout: float) -> T:  # noqa: ASYNC109 - it is asyncio.timeout, worded once
    # The SDK's own time-outs restart with each retry and do not cover the wait for a token.
    try:
        async with asyncio.timeout(timeout):
            return await call
    except TimeoutError as error:
        raise TableUnavailable(f"no answer within {timeout:g} s") from error
    except HttpResponseError as error:
        raise _translated(error) from error
    except AzureError as error:
        raise TableUnavailable(f"{type(error).__name__}: {error.message}") from error


def _translated(error: HttpResponseError) -> TableConflict | TableUnavailable | ValueError:
    # create_entity raises an error without `error_code`; the service's header is always there.
    headers = getattr(error.response, "headers", {})
    code = getattr(error, "error_code", None) or headers.get("x-ms-error-code")
    if code == TableErrorCode.TABLE_NOT_FOUND:
        return TableUnavailable("the table was deleted under us")
    text = f"{error.status_code} {code or error.reason}" if error.status_code else error.message
    match error.status_code:
        case 404 | 409 | 412:
            return TableConflict(text, getattr(error, "index", 0))
        case 400 | 413:
            return ValueError(f"the table service refused the rows: {text}")
        case _:
            return TableUnavailable(text)


def _in_transaction(operation: Operation) -> tuple[str, dict[str, Any], dict[str, Any]]:
    match operation:
        case Insert(entity):
            return "create", _to_row(entity), {}
        case Upsert(entity):
            return "upsert", _to_row(entity), {"mode": UpdateMode.REPLACE}
        case Replace(entity):
            condition = {"etag": entity.etag, "match_condition": _IF_UNCHANGED}
            return "update", _to_row(entity), {"mode": UpdateMode.REPLACE, **condition}
        case Delete(partition, row, etag):
            condition = {"etag": etag, "match_condition": _IF_UNCHANGED} if etag else {}
            return "delete", {"PartitionKey": partition, "RowKey": row}, condition


def _to_row(entity: Entity) -> dict[str, Any]:
    columns = {name: _to_property(value) for name, value in entity.values.items()}
    return {"PartitionKey": entity.partition, "RowKey": entity.row, **columns}


def _to_property(value: Value) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and value not in _INT32:
        # The SDK refuses a plain int over 32 bits.
        if not -(2**63) <= value < 2**63:
            raise ValueError("an int column has 64 bits")
        return EntityProperty(value, EdmType.INT64)
    if isinstance(value, datetime) and value.tzinfo is None:
        raise ValueError("a datetime column is aware")
    return value


def _to_entity(row: TableEntity) -> Entity:
    columns = {name: _to_value(value) for name, value in row.items() if name not in ("PartitionKey", "RowKey")}
    return Entity(row["PartitionKey"], row["RowKey"], columns, row.metadata["etag"])


def _to_value(value: Any) -> Value:
    if isinstance(value, EntityProperty):
        return int(value.value)
    if isinstance(value, datetime):
        # The SDK's subclass of datetime compares and pickles differently.
        return datetime.combine(value.date(), value.timetz())
    return value  # type: ignore[no-any-return]  # the SDK's rows are untyped; their values are those of `Value`
