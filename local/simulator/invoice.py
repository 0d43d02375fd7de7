"""What a backend bills: a line for each answer that cost anything, kept independently of everything it is compared to.

- Nothing is billed before a status line 200 went out: refusals, 429s, 4xx, 5xx, faults that stand in for an answer, and
  callers who left before it began, cost nothing.
- A completed answer bills its usage; with the fault `usage_missing` too, and with `usage_zero` zero.
- A stream that was cut, or whose caller left, bills its prompt and the tokens of the text that had been handed to the
  connection by then. Reasoning is billed with a completed answer only.
- A background response bills its usage when it is done, whoever asks for it or leaves; cancelled or deleted before, it
  bills nothing.
- A JSON answer had been made in full when its first byte went out: cut or abandoned, it bills its whole usage.
"""

from collections import deque
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from local.simulator.tokens import Usage

Outcome = Literal["completed", "cut", "client_left"]


@dataclass(frozen=True, slots=True)
class Line:
    """One billed answer; `request_id` is its apim-request-id, `time` when it ended."""

    request_id: str
    time: datetime
    deployment: str
    model: str
    operation: str
    stream: bool
    outcome: Outcome
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    billed: bool = True


@dataclass(slots=True)
class Total:
    """Sums of one deployment and model since the last reset."""

    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0

    def add(self, line: Line) -> None:
        self.requests += 1
        self.prompt_tokens += line.prompt_tokens
        self.cached_tokens += line.cached_tokens
        self.completion_tokens += line.completion_tokens
        self.reasoning_tokens += line.reasoning_tokens


class Invoice:
    """Totals are complete; of the lines the latest `bound` are kept."""

    def __init__(self, bound: int = 100_000) -> None:
        self.lines: deque[Line] = deque(maxlen=bound)
        self.totals: dict[tuple[str, str], Total] = {}
        self._billed = 0

    def bill(self, line: Line) -> None:
        self.lines.append(line)
        self._billed += 1
        self.totals.setdefault((line.deployment, line.model), Total()).add(line)

    def clear(self) -> None:
        self.lines.clear()
        self.totals.clear()
        self._billed = 0

    def usage(self) -> Usage:
        """Return the sum of everything that was billed."""
        totals = self.totals.values()
        return Usage(
            prompt=sum(total.prompt_tokens for total in totals),
            cached=sum(total.cached_tokens for total in totals),
            completion=sum(total.completion_tokens for total in totals),
            reasoning=sum(total.reasoning_tokens for total in totals),
        )

    def document(self) -> dict[str, Any]:
        """Return the invoice as it goes out in JSON."""
        totals = [
            {"deployment": deployment, "model": model, **asdict(total)}
            for (deployment, model), total in self.totals.items()
        ]
        lines = [asdict(line) for line in self.lines]
        return {"lines": lines, "lines_dropped": self._billed - len(self.lines), "totals": totals}
