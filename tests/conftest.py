"""Azurite, once for the whole run; and how property tests look at time."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.azurite import PROGRAM, running_azurite

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
