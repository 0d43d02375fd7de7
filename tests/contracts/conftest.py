"""A table that no other test uses."""

import os

import pytest

from seams.tables import Table, Tables


@pytest.fixture
async def table(tables: Tables) -> Table:
    return await tables.table(f"t{os.urandom(6).hex()}")
