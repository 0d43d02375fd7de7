"""Azurite, once for the whole run; tables on it and in a file; and how property tests look at time."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from hosting.tables import AzureTables
from local.tables import SQLiteTables
from seams.tables import Tables
from tests.azurite import PROGRAM, running_azurite
from tests.unordered_tables import UnorderedTables

# On a busy machine any example may be slow, which says nothing of the code; pytest's time-out still holds.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the connection string of a Table service of our own on a free loopback port."""
    if not PROGRAM.exists():
        pytest.skip("Azurite is not installed: tests/install_azurite needs npm and its registry")
    with running_azurite(tmp_path_factory.mktemp("azurite")) as connection_string:
        yield connection_string


@pytest.fixture(params=["sqlite", "azurite"])
async def rival_tables(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Callable[[], Tables]]:
    """Yield what opens the same store once more; each opening stands for a process of its own."""
    opened: list[Tables] = []

    def open_store() -> Tables:
        store: Tables = (
            UnorderedTables(SQLiteTables(tmp_path / "tables.db"))
            if request.param == "sqlite"
            else AzureTables.by_connection_string(request.getfixturevalue("azurite"))
        )
        opened.append(store)
        return store

    yield open_store
    for store in opened:
        await store.close()


@pytest.fixture
def tables(rival_tables: Callable[[], Tables]) -> Tables:
    """Return tables of either kind; other tests use Azurite's, too."""
    return rival_tables()
