"""What Tollgate aims at on one core, held against a run. The reasons are in docs/performance.md."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from bench.figures import Row, Sample, rows
from bench.targets import TOLLGATE

RATE: Final = attrgetter("rate_to_nginx")


@dataclass(frozen=True, slots=True)
class Aim:
    """`found` is None where it was not measured."""

    title: str
    found: float | None
    bound: float
    at_least: bool = False

    @property
    def met(self) -> bool | None:
        if self.found is None:
            return None
        return self.found >= self.bound if self.at_least else self.found <= self.bound


def aims(samples: Sequence[Sample], stream_megabytes: float | None, import_ratio: float | None) -> list[Aim]:
    """Take all samples, the memory of 1,000 open streams and how the app's import compares with that of its parts."""

    def figure(scenario: str, of: Callable[[Row], float | None]) -> float | None:
        found = [row for row in rows(samples, scenario) if row.target == TOLLGATE]
        return of(found[0]) if found else None

    return [
        Aim("JSON, 16 callers: rate to nginx's", figure("json-16", RATE), 0.25, at_least=True),
        Aim("SSE, 16 callers: rate to nginx's", figure("sse-16", RATE), 0.6, at_least=True),
        Aim("JSON, 1 caller: +p50 to nginx's", figure("json-1", attrgetter("added_p50_to_nginx")), 4.5),
        Aim("SSE paced: first chunk, +p50 in µs", figure("paced-256", attrgetter("added_p50")), 1000),
        Aim("1,000 open streams: memory in MB", stream_megabytes, 40),
        Aim("import of function_app: CPU to that of fastapi and openai", import_ratio, 1.5),
    ]
