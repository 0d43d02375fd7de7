"""The documentation's tables, as the tests compare them with the code."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_CELL = re.compile(r"(?<!\\)\|")

type Rows = list[dict[str, str]]


@pytest.fixture
def rows_of() -> Callable[[str, str], Rows]:
    """Return what reads the first table below a heading of a page in docs/; code marks are taken off the cells."""

    def read(page: str, heading: str) -> Rows:
        text = (ROOT / "docs" / page).read_text()
        section = re.split(r"^#+ ", text.partition(f"# {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
        table = [line for line in section.splitlines() if line.startswith("|")]
        names, _, *rows = [[cell.strip().strip("`") for cell in _CELL.split(line)[1:-1]] for line in table]
        return [dict(zip(names, row, strict=True)) for row in rows]

    return read
