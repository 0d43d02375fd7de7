"""The list of functions in docs/architecture.md against the app."""

import ast
from collections.abc import Callable
from pathlib import Path

type Rows = list[dict[str, str]]

APP = Path(__file__).parents[2] / "function_app.py"


def test_every_function_is_listed(rows_of: Callable[[str, str], Rows]) -> None:
    """The table has each function that the app registers, and no other."""
    registered = [node.name for node in ast.parse(APP.read_text()).body if isinstance(node, ast.AsyncFunctionDef)]
    assert sorted(registered) == sorted(row["function"] for row in rows_of("architecture.md", "Architecture"))
