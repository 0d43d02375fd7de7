"""How sure a suggestion is: what the model says, held against what can be checked.

    own        = the model's number, between 0 and 1; times 0.6 where its evidence is not in the ticket
    confidence = own                            where nothing can be compared
               = 0.6 * own + 0.4 * agreement    where similar tickets have a value for the field

`agreement` is the share of those tickets that have the suggested value, each weighed by its similarity.
"""

import math
from collections.abc import Iterable
from typing import Final

from enrichment.answers.findings import Band

UNPROVEN: Final = 0.6
AGREEMENT_WEIGHT: Final = 0.4
HIGH: Final = 0.8
MEDIUM: Final = 0.5


def clamped(said: float) -> float:
    """Return a number from 0 to 1; what is no number is 0."""
    return 0.0 if math.isnan(said) else min(1.0, max(0.0, said))


def confidence(said: float, *, proven: bool, agreement: float | None) -> float:
    own = clamped(said) * (1.0 if proven else UNPROVEN)
    mixed = own if agreement is None else (1 - AGREEMENT_WEIGHT) * own + AGREEMENT_WEIGHT * agreement
    return round(mixed, 2)


def band(value: float) -> Band:
    if value >= HIGH:
        return "High"
    return "Medium" if value >= MEDIUM else "Low"


def agreement(votes: Iterable[tuple[float, bool]]) -> float | None:
    """Return the share of the weights that agree; None without votes."""
    weights = list(votes)
    whole = sum(weight for weight, _ in weights)
    return round(sum(weight for weight, agrees in weights if agrees) / whole, 2) if whole > 0 else None
