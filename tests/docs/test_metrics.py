"""docs/observability.md against what `/metrics` answers."""

import re
from collections.abc import Callable
from pathlib import Path

from tests.hosting.watched import watched_app

type Rows = list[dict[str, str]]


async def test_every_metric_is_described(tmp_path: Path, rows_of: Callable[[str, str], Rows]) -> None:
    """The table has each metric that an instance tells, and no other."""
    async with watched_app(tmp_path) as app:
        told = re.findall(r"^# TYPE ([a-z_]+) ", await app.scrape(), re.MULTILINE)
    assert sorted(told) == sorted(row["name"] for row in rows_of("observability.md", "Metrics"))
