"""What an instance has at hand of the cache's table, bounded. Pure."""

from collections import OrderedDict
from typing import Final

from gateway.cache.caching import KeptAnswer
from gateway.cache.kept_rows import MOST_ALIKE, Question

FRONT_BYTES: Final = 32 * 1024 * 1024
ENTRY_BYTES: Final = 1024
"""What an entry takes beside its body, roughly."""

MOST_QUESTIONS: Final = 4000
"""In memory, of all contexts together; a vector takes 8 kB there."""

FRESH_SECONDS: Final = 30.0
"""How long the questions of a context are compared before they are read again."""


class Front:
    """Answers, the longest unused out first."""

    def __init__(self) -> None:
        self._answers: OrderedDict[tuple[str, str], KeptAnswer] = OrderedDict()
        self._size = 0

    def get(self, scope: str, key: str) -> KeptAnswer | None:
        answer = self._answers.get((scope, key))
        if answer is not None:
            self._answers.move_to_end((scope, key))
        return answer

    def put(self, scope: str, key: str, answer: KeptAnswer) -> None:
        self.drop(scope, key)
        self._answers[(scope, key)] = answer
        self._size += len(answer.body) + ENTRY_BYTES
        while self._size > FRONT_BYTES:
            self.drop(*next(iter(self._answers)))

    def drop(self, scope: str, key: str) -> None:
        gone = self._answers.pop((scope, key), None)
        if gone is not None:
            self._size -= len(gone.body) + ENTRY_BYTES


class Questions:
    """Questions by the context that they were asked in, the longest unused contexts out first; `now` is monotonic."""

    def __init__(self) -> None:
        self._contexts: OrderedDict[tuple[str, str], tuple[float, list[Question]]] = OrderedDict()
        self._weight = 0

    def get(self, scope: str, context: str, now: float) -> tuple[list[Question], bool]:
        """Return the questions, and whether they were read a short while ago."""
        found = self._contexts.get((scope, context))
        if found is None:
            return [], False
        self._contexts.move_to_end((scope, context))
        return found[1], now - found[0] <= FRESH_SECONDS

    def put(self, scope: str, context: str, now: float, questions: list[Question]) -> None:
        self._weight -= self._weight_of((scope, context))
        self._contexts[(scope, context)] = (now, questions)
        self._contexts.move_to_end((scope, context))
        self._weight += self._weight_of((scope, context))
        while self._weight > MOST_QUESTIONS:
            oldest = next(iter(self._contexts))
            self._weight -= self._weight_of(oldest)
            del self._contexts[oldest]

    def add(self, scope: str, context: str, question: Question) -> None:
        """Add a question to a context that was read; another is read when it is asked for."""
        found = self._contexts.get((scope, context))
        if found is not None:
            others = [each for each in found[1] if each.key != question.key]
            self.put(scope, context, found[0], [question, *others][:MOST_ALIKE])

    def _weight_of(self, place: tuple[str, str]) -> int:
        found = self._contexts.get(place)
        return 0 if found is None else 1 + len(found[1])
