"""Azurite, once for the whole run."""

from collections.abc import Iterator

import pytest

from tests.azurite import PROGRAM, running_azurite


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the connection string of a Table service of our own on a free loopback port."""
    if not PROGRAM.exists():
        pytest.skip("Azurite is not installed: tests/install_azurite needs npm and its registry")
    with running_azurite(tmp_path_factory.mktemp("azurite")) as connection_string:
        yield connection_string
