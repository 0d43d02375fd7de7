"""Priority from impact and urgency."""

import pytest

from enrichment.suggestions.priorities import PriorityMatrix, level_of
from enrichment.tickets.ticket import Coded


def test_servicenows_own_matrix() -> None:
    """The default is 1 to 5 along the diagonals."""
    matrix = PriorityMatrix()
    assert [[matrix.priority(impact, urgency) for urgency in (1, 2, 3)] for impact in (1, 2, 3)] == [
        [1, 2, 3],
        [2, 3, 4],
        [3, 4, 5],
    ]


def test_another_matrix() -> None:
    """Rows are impacts, columns urgencies."""
    assert PriorityMatrix.parsed("1 1 2, 2 2 3, 4 4 5").priority(2, 3) == 3


@pytest.mark.parametrize("text", ["", "1 2 3", "1 2 3, 2 3 4, 3 4 6", "1 2 3, 2 3 4, 3 4", "a b c, d e f, g h i"])
def test_what_is_no_matrix(text: str) -> None:
    """Anything but three rows of three priorities is refused."""
    with pytest.raises(ValueError, match="priority"):
        PriorityMatrix.parsed(text)


@pytest.mark.parametrize(
    ("coded", "level"),
    [
        (Coded("1 - High"), 1),
        (Coded("2"), 2),
        (Coded("Hoch", "1"), 1),
        (Coded("", "3"), 3),
        (Coded("12"), None),
        (Coded("High"), None),
        (Coded(), None),
    ],
)
def test_level_of(coded: Coded, level: int | None) -> None:
    """The number counts, whichever language its label is in."""
    assert level_of(coded) == level
