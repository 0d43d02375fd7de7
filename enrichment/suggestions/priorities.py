"""Priority, computed from impact and urgency; and the levels of all three as the Table API writes them."""

import re
from dataclasses import dataclass
from typing import Final, Self

from enrichment.tickets.ticket import Coded

LEVELS: Final = {1: "1 - High", 2: "2 - Medium", 3: "3 - Low"}
PRIORITIES: Final = {1: "1 - Critical", 2: "2 - High", 3: "3 - Moderate", 4: "4 - Low", 5: "5 - Planning"}

_LEADING: Final = re.compile(r"\s*([1-5])(?!\d)")


@dataclass(frozen=True, slots=True)
class PriorityMatrix:
    """`rows[impact - 1][urgency - 1]` is a priority from 1 to 5. The default is ServiceNow's own."""

    rows: tuple[tuple[int, int, int], ...] = ((1, 2, 3), (2, 3, 4), (3, 4, 5))

    @classmethod
    def parsed(cls, text: str) -> Self:
        """Read three rows such as `1 2 3, 2 3 4, 3 4 5`. Raises ValueError, whose message says what is wrong."""
        rows = [row.split() for row in text.split(",")]
        if len(rows) != 3 or any(len(row) != 3 for row in rows):
            raise ValueError("a priority matrix has three rows of three numbers, such as `1 2 3, 2 3 4, 3 4 5`")
        if any(cell not in {"1", "2", "3", "4", "5"} for row in rows for cell in row):
            raise ValueError("a priority is a number from 1 to 5")
        return cls(tuple((int(first), int(second), int(third)) for first, second, third in rows))

    def priority(self, impact: int, urgency: int) -> int:
        return self.rows[impact - 1][urgency - 1]


def level_of(coded: Coded) -> int | None:
    """Return the number in `1 - High`, `1` or their like; None where there is none."""
    found = _LEADING.match(coded.value) or _LEADING.match(coded.display_value)
    return int(found[1]) if found else None
