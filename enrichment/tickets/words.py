"""Texts compared by the words that they share, rare ones counting more: cosine of tf-idf vectors."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

_WORD: Final = re.compile(r"[^\W_]{2,}")
_LETTERS: Final = 5
"""Words are compared by their beginnings: `printing` and `printer` are one, in most languages with endings."""


class WordVectors:
    def __init__(self, texts: Sequence[str]) -> None:
        counts = [Counter(word[:_LETTERS] for word in _WORD.findall(text.casefold())) for text in texts]
        spread = Counter(word for counted in counts for word in counted)
        self._vectors = [_weighed(counted, spread, len(texts)) for counted in counts]

    def similarities(self, place: int) -> list[float]:
        """Return how like each other text the one at `place` is, from 0 to 1, in their order."""
        own = self._vectors[place]
        return [_product(own, other) for other_place, other in enumerate(self._vectors) if other_place != place]


def _weighed(counted: Mapping[str, int], spread: Mapping[str, int], texts: int) -> dict[str, float]:
    weights = {word: (1 + math.log(times)) * math.log(1 + texts / spread[word]) for word, times in counted.items()}
    length = math.hypot(*weights.values()) or 1.0
    return {word: weight / length for word, weight in weights.items()}


def _product(first: Mapping[str, float], second: Mapping[str, float]) -> float:
    return sum(weight * second.get(word, 0.0) for word, weight in first.items())
