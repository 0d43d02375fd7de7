"""Jobs on tables in a file."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from local.tables import SQLiteTables
from tests.enrichment.jobs.parts import Parts


@pytest.fixture
async def tables(tmp_path: Path) -> AsyncIterator[SQLiteTables]:
    opened = SQLiteTables(tmp_path / "tables.sqlite")
    yield opened
    await opened.close()


@pytest.fixture
def parts(tables: SQLiteTables) -> Parts:
    return Parts(tables)
