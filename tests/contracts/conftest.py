"""The stores that a contract is run against."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hosting.tables import AzureTables
from local.tables import SQLiteTables
from seams.tables import Table, Tables


@pytest.fixture(params=["sqlite", "azurite"])
async def tables(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Tables]:
    store: Tables
    if request.param == "sqlite":
        store = SQLiteTables(tmp_path / "tables.db")
    else:
        store = AzureTables.by_connection_string(request.getfixturevalue("azurite"))
    yield store
    await store.close()


@pytest.fixture
async def table(tables: Tables) -> Table:
    return await tables.table(f"t{os.urandom(6).hex()}")
