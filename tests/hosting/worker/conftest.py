"""The hosts as fixtures."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hosting.worker.hosts import BRIDGE, HOSTS, RunningHost, Start, start_host


@pytest.fixture(scope="module", params=HOSTS)
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHost]:
    """Each host over the bridged app, kept for a module's tests."""
    with start_host(request.param, tmp_path_factory.mktemp("state")) as running:
        yield running


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """What starts a host of one's own, with environment variables by keyword."""

    def starting(name: str, directory: Path = BRIDGE, **environment: str) -> Any:
        return start_host(name, tmp_path, directory, **environment)

    return starting
