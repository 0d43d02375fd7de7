"""The text format in which Prometheus reads metrics, version 0.0.4: one family after the other, each with its samples.

Source: prometheus.io, "Exposition formats".
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final, Literal

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

type Labels = tuple[str, ...]
"""Label values, in the order of the family's label names."""


@dataclass(slots=True)
class Histogram:
    """Counts per bucket, not cumulative; `bounds` are the buckets' upper ends, the last one open."""

    bounds: tuple[float, ...]
    counts: list[int] = field(init=False)
    sum: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


type Samples = Iterable[tuple[Labels, float]] | Iterable[tuple[Labels, Histogram]]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric, `samples` with a value per series. By convention counters end in `_total`, times in `_seconds`."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...]
    samples: Samples


def exposition(families: Iterable[Family]) -> str:
    """Return what a scrape gets."""
    return "".join(line for family in families for line in _lines(family))


def _lines(family: Family) -> Iterator[str]:
    yield f"# HELP {family.name} {family.help}\n# TYPE {family.name} {family.kind}\n"
    for labels, value in family.samples:
        if isinstance(value, Histogram):
            yield from _histogram(family, labels, value)
        else:
            yield f"{family.name}{_labels(family.labels, labels)} {value}\n"


def _histogram(family: Family, labels: Labels, value: Histogram) -> Iterator[str]:
    names = (*family.labels, "le")
    ends = [*map(str, value.bounds), "+Inf"]
    for end, count in zip(ends, accumulate(value.counts), strict=True):
        yield f"{family.name}_bucket{_labels(names, (*labels, end))} {count}\n"
    yield f"{family.name}_sum{_labels(family.labels, labels)} {value.sum}\n"
    yield f"{family.name}_count{_labels(family.labels, labels)} {sum(value.counts)}\n"


def _labels(names: tuple[str, ...], values: Labels) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True))
    return f"{{{pairs}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
