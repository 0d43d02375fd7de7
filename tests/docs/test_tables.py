"""The list of tables in docs/architecture.md against the code."""

import importlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

type Rows = list[dict[str, str]]

ROOT = Path(__file__).parents[2]
_OPENED = re.compile(r"\.table\(([A-Z]+)\)")


def opened() -> Iterator[str]:
    """Yield the names of the tables that the capabilities open."""
    for package in ("gateway", "chargeback", "enrichment"):
        for path in (ROOT / package).rglob("*.py"):
            for constant in _OPENED.findall(path.read_text()):
                module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                yield getattr(importlib.import_module(module), constant)


def test_every_table_is_listed(rows_of: Callable[[str, str], Rows]) -> None:
    """The list has each table that the code opens and no other, with the module whose docstring describes its rows."""
    rows = rows_of("architecture.md", "Tables")
    assert sorted(row["table"] for row in rows) == sorted(set(opened()))
    for row in rows:
        assert row["table"] in (ROOT / row["written by"]).read_text()
