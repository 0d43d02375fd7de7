"""The tables of docs/enrichment.md against what `/enrich` takes and answers."""

from pathlib import Path
from typing import get_args

from enrichment.answers.answers import DIGEST, TaskWarning
from enrichment.requests.requests import EnrichRequest, TaskName

PAGE = Path(__file__).parents[2] / "docs" / "enrichment.md"


def names(heading: str) -> set[str]:
    """Return what the first cells below a table's heading name."""
    (table,) = (part for part in PAGE.read_text().split("\n\n") if part.startswith(f"| {heading} |"))
    cells = [line.split("|")[1] for line in table.splitlines()[2:]]
    return {name.strip(" `") for cell in cells for name in cell.split(",")}


def test_every_field_of_a_request_is_described() -> None:
    """The table has the fields that a request may have, and no other."""
    assert names("field of the request") == set(EnrichRequest.model_fields)


def test_every_task_is_described() -> None:
    """The table has the tasks that may be asked for; condensing a long ticket is not one of them."""
    assert names("task") == set(get_args(TaskName))
    assert DIGEST not in names("task")


def test_every_warning_is_described() -> None:
    """The table has the codes that a warning may have, and no other."""
    assert names("code of a warning") == set(get_args(TaskWarning.model_fields["code"].annotation))
